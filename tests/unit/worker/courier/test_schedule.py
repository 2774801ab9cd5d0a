import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.courier.schedule import JITTER, LONGEST_REST, MOST_RETRY_AFTER, PATIENCE, again_in, rest
from worker.courier.settings import RETRIES

CHANCE = st.floats(0, 1, exclude_max=True)
TRIES = st.integers(1, len(RETRIES))
ASKED = st.none() | st.floats(0, 1e9)


@given(TRIES, CHANCE)
def test_a_delay_exceeds_its_schedule_by_at_most_a_fifth(tries: int, chance: float) -> None:
    delay = again_in(tries, retries=RETRIES, chance=chance)
    assert delay is not None
    assert RETRIES[tries - 1] <= delay <= RETRIES[tries - 1] * (1 + JITTER)


@given(st.integers(1, len(RETRIES) - 1), CHANCE)
def test_delays_never_shrink(tries: int, chance: float) -> None:
    first, second = (again_in(at, retries=RETRIES, chance=chance) for at in (tries, tries + 1))
    assert first is not None
    assert second is not None
    assert first <= second


@given(TRIES, CHANCE, ASKED)
def test_retry_after_is_honored_up_to_an_hour(tries: int, chance: float, asked: float | None) -> None:
    delay = again_in(tries, retries=RETRIES, chance=chance, retry_after=asked)
    assert delay is not None
    assert delay >= min(asked or 0, MOST_RETRY_AFTER)
    assert delay <= max(RETRIES[tries - 1] * (1 + JITTER), MOST_RETRY_AFTER)


@given(st.integers(len(RETRIES) + 1, 10_000), CHANCE, ASKED)
def test_there_is_no_retry_after_the_last_attempt(tries: int, chance: float, asked: float | None) -> None:
    assert again_in(tries, retries=RETRIES, chance=chance, retry_after=asked) is None


def test_retry_after_is_limited_to_an_hour() -> None:
    assert MOST_RETRY_AFTER == 3600
    assert again_in(1, retries=RETRIES, chance=0.0, retry_after=86400.0) == 3600


def test_the_schedule_takes_about_three_days() -> None:
    assert 75 * 3600 < sum(RETRIES) < 76 * 3600


@given(st.integers(0, 10**6))
def test_a_pause_starts_at_zero_then_grows_and_is_bounded(failures: int) -> None:
    assert 0 <= rest(failures) <= rest(failures + 1) <= LONGEST_REST
    assert (rest(failures) == 0) is (failures < PATIENCE)


@pytest.mark.parametrize(("failures", "seconds"), [(4, 0), (5, 5), (6, 10), (10, 160), (11, 300), (10**9, 300)])
def test_pauses_grow_from_the_fifth_failure_on(failures: int, seconds: float) -> None:
    assert rest(failures) == seconds
