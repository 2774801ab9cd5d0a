"""Token buckets: a burst at once, a rate over time, and headers that tell the truth."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from api.auth.rate_limits import MOST, Buckets, Taken


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(buckets: Buckets, times: int, *, rate: float = 2.0, burst: int = 4) -> list[Taken]:
    return [buckets.take("a", rate=rate, burst=burst) for _ in range(times)]


def test_a_burst_goes_through_at_once_and_what_follows_does_not() -> None:
    found = taken(Buckets(now=Clock()), 6)
    assert [one.allowed for one in found] == [True, True, True, True, False, False]
    assert [one.remaining for one in found] == [3, 2, 1, 0, 0, 0]


def test_tokens_come_back_at_the_rate() -> None:
    clock = Clock()
    buckets = Buckets(now=clock)
    taken(buckets, 4)
    clock.now += 0.5
    assert [one.allowed for one in taken(buckets, 2)] == [True, False]


def test_who_waits_as_long_as_told_is_let_in() -> None:
    clock = Clock()
    buckets = Buckets(now=clock)
    refused = taken(buckets, 5)[-1]
    assert refused.retry_after == timedelta(seconds=0.5)
    clock.now += refused.retry_after.total_seconds()
    assert taken(buckets, 1)[0].allowed


def test_one_bucket_takes_nothing_from_another() -> None:
    buckets = Buckets(now=Clock())
    taken(buckets, 5)
    assert buckets.take("b", rate=2, burst=4).remaining == 3


def test_the_headers_say_the_quota_its_window_what_is_left_and_when_it_is_whole_again() -> None:
    (first,) = taken(Buckets(now=Clock()), 1)
    assert first.headers == {"RateLimit-Policy": '"key";q=4;w=2', "RateLimit": '"key";r=3;t=1'}


def test_full_buckets_are_forgotten_once_there_are_many() -> None:
    clock = Clock()
    buckets = Buckets(now=clock)
    for number in range(MOST):
        buckets.take(str(number), rate=1, burst=1)
    clock.now += 2
    buckets.take("more", rate=1, burst=1)
    assert len(buckets._full_at) == 1


@given(
    rate=st.floats(0.01, 1000),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 5), min_size=1, max_size=60),
)
def test_in_no_span_of_time_is_more_granted_than_the_burst_and_the_rate(
    rate: float, burst: int, pauses: list[float]
) -> None:
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
