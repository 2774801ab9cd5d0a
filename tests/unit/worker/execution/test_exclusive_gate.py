"""Jobs beside each other, or one alone: whatever the threads do, and nobody waits for ever."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.execution.exclusive_gate import ExclusiveGate


class Room:
    """What is behind a exclusive_gate: it notes who was ever in at the same time."""

    def __init__(self) -> None:
        self.exclusive_gate = ExclusiveGate()
        self.broken = False
        self.visits = 0
        self._inside: list[bool] = []
        self._lock = threading.Lock()

    @contextmanager
    def _seen(self, *, alone: bool) -> Iterator[None]:
        with self._lock:
            self._inside.append(alone)
            self.broken |= any(self._inside) and len(self._inside) > 1
            self.visits += 1
        yield
        with self._lock:
            self._inside.remove(alone)

    def visit(self, *, alone: bool, shares: bool, seconds: float) -> None:
        turn = self.exclusive_gate.enter(alone=alone)
        assert turn is not None
        with turn:
            with self._seen(alone=turn.alone):
                time.sleep(seconds)
            if shares:
                turn.share()
                with self._seen(alone=False):
                    time.sleep(seconds)


Visit = st.tuples(st.booleans(), st.booleans(), st.sampled_from([0.0, 0.0005, 0.002]))


@settings(max_examples=40, deadline=None)
@given(visits=st.lists(Visit, max_size=30), threads=st.integers(1, 8))
def test_exclusive_turns_never_overlap_and_everyone_gets_in(
    visits: list[tuple[bool, bool, float]], threads: int
) -> None:
    room = Room()
    with ThreadPoolExecutor(threads) as pool:
        done = [pool.submit(room.visit, alone=a, shares=b, seconds=c) for a, b, c in visits]
        for future in done:
            future.result(timeout=60)
    assert not room.broken
    assert room.visits == len(visits) + sum(shares for _, shares, _ in visits)


def waiting(exclusive_gate: ExclusiveGate, pool: ThreadPoolExecutor, *, alone: bool, line: int) -> Future[bool]:
    """Ask for a turn in another thread; return once it is waiting. It leaves at once when it got in."""

    def ask() -> bool:
        turn = exclusive_gate.enter(alone=alone)
        if turn is None:
            return False
        with turn:
            return True

    future = pool.submit(ask)
    deadline = time.monotonic() + 60
    while len(exclusive_gate._queue) < line and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(exclusive_gate._queue) == line
    return future


def test_later_callers_wait_behind_an_exclusive_one() -> None:
    exclusive_gate = ExclusiveGate()
    with ThreadPoolExecutor(2) as pool:
        inside = exclusive_gate.enter()
        assert inside is not None
        with inside:
            alone = waiting(exclusive_gate, pool, alone=True, line=1)
            late = waiting(exclusive_gate, pool, alone=False, line=2)
            assert not alone.done()
            assert not late.done()
        assert alone.result(timeout=60)
        assert late.result(timeout=60)


def test_a_second_exclusive_caller_does_not_drain_the_process_again() -> None:
    exclusive_gate = ExclusiveGate()
    inside = exclusive_gate.enter()
    assert inside is not None
    with ThreadPoolExecutor(1) as pool:
        first = waiting(exclusive_gate, pool, alone=True, line=1)
        second: list[bool] = []

        def ask() -> None:
            turn = exclusive_gate.enter(alone=True)
            assert turn is not None
            second.append(turn.alone)

        asking = threading.Thread(target=ask)
        asking.start()
        while len(exclusive_gate._queue) < 2:
            time.sleep(0.001)
        inside.__exit__(None, None, None)
        assert first.result(timeout=60)
        asking.join(timeout=60)
    assert second == [False]


def test_a_closed_gate_rejects_waiting_and_new_callers() -> None:
    exclusive_gate = ExclusiveGate()
    with ThreadPoolExecutor(2) as pool:
        inside = exclusive_gate.enter()
        assert inside is not None
        with inside:
            alone = waiting(exclusive_gate, pool, alone=True, line=1)
            exclusive_gate.close()
            assert alone.result(timeout=60) is False
        assert exclusive_gate.enter() is None
