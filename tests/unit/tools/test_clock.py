"""The made clock of the tests: sleeps take no real time, and end in the order of their times."""

import asyncio
import time

import pytest

from tests.clock import run


def test_sleeps_take_no_time_and_end_in_order() -> None:
    ended: list[float] = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        ended.append(asyncio.get_running_loop().time())

    async def case() -> None:
        await asyncio.gather(*(sleep(hours * 3600.0) for hours in (3, 1, 2)))

    began = time.monotonic()
    run(case())
    assert ended == [1000.0 + 3600.0 * hours for hours in (1, 2, 3)]
    assert time.monotonic() - began < 3600


def test_a_timeout_ends_what_never_would() -> None:
    async def case() -> None:
        async with asyncio.timeout(60):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run(case())
