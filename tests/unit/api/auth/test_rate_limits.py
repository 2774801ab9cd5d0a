"""Token buckets: bursts, sustained rates, and the headers that report them."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from api.auth.rate_limits import MAX_BUCKETS, Buckets, Decision


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(buckets: Buckets, times: int, *, rate: float = 2.0, burst: int = 4) -> list[Decision]:
    return [buckets.take("a", rate=rate, burst=burst) for _ in range(times)]


def test_only_a_burst_is_allowed_at_once() -> None:
    found = taken(Buckets(now=Clock()), 6)
    assert [one.allowed for one in found] == [True, True, True, True, False, False]
    assert [one.remaining for one in found] == [3, 2, 1, 0, 0, 0]


def test_tokens_come_back_at_the_rate() -> None:
    clock = Clock()
    buckets = Buckets(now=clock)
    taken(buckets, 4)
    clock.now += 0.5
    assert [one.allowed for one in taken(buckets, 2)] == [True, False]


def test_a_request_after_retry_after_is_allowed() -> None:
    clock = Clock()
    buckets = Buckets(now=clock)
    refused = taken(buckets, 5)[-1]
    assert refused.retry_after == timedelta(seconds=0.5)
    clock.now += refused.retry_after.total_seconds()
    assert taken(buckets, 1)[0].allowed


def test_buckets_are_independent() -> None:
    buckets = Buckets(now=Clock())
    taken(buckets, 5)
    assert buckets.take("b", rate=2, burst=4).remaining == 3


def test_the_headers_report_quota_window_remaining_and_reset() -> None:
    (first,) = taken(Buckets(now=Clock()), 1)
    assert first.headers == {"RateLimit-Policy": '"key";q=4;w=2', "RateLimit": '"key";r=3;t=1'}


def test_full_buckets_are_dropped_above_the_limit() -> None:
    clock = Clock()
    buckets = Buckets(now=clock)
    for number in range(MAX_BUCKETS):
        buckets.take(str(number), rate=1, burst=1)
    clock.now += 2
    buckets.take("more", rate=1, burst=1)
    assert len(buckets._full_at) == 1


@given(
    rate=st.floats(0.01, 1000),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 5), min_size=1, max_size=60),
)
def test_no_interval_exceeds_burst_plus_rate(rate: float, burst: int, pauses: list[float]) -> None:
    clock = Clock()
    buckets = Buckets(now=clock)
    granted: list[float] = []
    for pause in pauses:
        clock.now += pause
        one = buckets.take("a", rate=rate, burst=burst)
        assert 0 <= one.remaining <= burst
        if one.allowed:
            granted.append(clock.now)
    for first, begin in enumerate(granted):
        for last, end in enumerate(granted[first:], first):
            assert last - first + 1 <= burst + (end - begin) * rate + 1e-6 * (1 + rate)
