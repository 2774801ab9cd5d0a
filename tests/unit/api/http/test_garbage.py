"""Collecting rarely still collects."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from api.http.garbage import YOUNG, collect_rarely


class Cycle:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def usual_collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_existing_objects_are_exempt_and_new_cycles_are_collected() -> None:
    collect_rarely()
    assert gc.get_freeze_count() > YOUNG
    cycle = weakref.ref(Cycle())
    assert cycle() is not None
    kept: list[list[int]] = [[] for _ in range(2 * YOUNG)]
    assert cycle() is None
    assert len(kept) == 2 * YOUNG
