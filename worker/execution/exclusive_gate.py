"""Admit jobs to this process: several at once, or one exclusively."""

import threading
from collections import deque
from types import TracebackType
from typing import Self


class Turn:
    """A pass through the gate; leaving the block returns it."""

    def __init__(self, exclusive_gate: "ExclusiveGate", *, alone: bool) -> None:
        self._exclusive_gate = exclusive_gate
        self.alone = alone

    def share(self) -> None:
        """Admit others alongside an exclusive turn."""
        self._exclusive_gate._change(self, alone=False)  # noqa: SLF001 - two halves of one thing

    def __enter__(self) -> Self:
        """Return the turn, which has already been granted."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """Return the pass to the gate."""
        self._exclusive_gate._leave(self)  # noqa: SLF001 - two halves of one thing


class ExclusiveGate:
    """Admits threads in order of arrival, so that neither kind of turn starves the other.

    A thread inside never waits for a second turn, so there is no deadlock. A thread requests its turn before it claims
    a job; otherwise a claimed job that waits for its turn would be lost if the process died.
    """

    def __init__(self) -> None:
        self._queue: deque[Turn] = deque()
        self._inside: set[Turn] = set()
        self._closed = False
        self._changed = threading.Condition()

    def enter(self, *, alone: bool = False) -> Turn | None:
        """Wait for a turn; return None once the gate is closed.

        If an exclusive turn is already queued, a second one would only empty the process again, so it becomes a shared
        turn behind the first.
        """
        with self._changed:
            turn = Turn(self, alone=alone and not any(other.alone for other in self._queue))
            self._queue.append(turn)
            self._changed.wait_for(lambda: self._closed or self._may_enter(turn))
            self._queue.remove(turn)
            if not self._closed:
                self._inside.add(turn)
            self._changed.notify_all()
            return None if self._closed else turn

    @property
    def closed(self) -> bool:
        """Whether the gate admits no more turns."""
        return self._closed

    def close(self) -> None:
        """Admit no more turns: waiting threads get None, threads inside may finish."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _may_enter(self, turn: Turn) -> bool:
        if self._queue[0] is not turn:
            return False
        return not self._inside if turn.alone else not any(other.alone for other in self._inside)

    def _leave(self, turn: Turn) -> None:
        with self._changed:
            self._inside.discard(turn)
            self._changed.notify_all()

    def _change(self, turn: Turn, *, alone: bool) -> None:
        with self._changed:
            turn.alone = alone
            self._changed.notify_all()
