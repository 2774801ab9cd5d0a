"""Who may have a job in this process now: many beside each other, or one alone."""

import threading
from collections import deque
from types import TracebackType
from typing import Self


class Turn:
    """A pass through the exclusive_gate: leaving the block gives it up."""

    def __init__(self, exclusive_gate: "ExclusiveGate", *, alone: bool) -> None:
        self._exclusive_gate = exclusive_gate
        self.alone = alone

    def share(self) -> None:
        """Let others in beside this one, where it was alone."""
        self._exclusive_gate._change(self, alone=False)  # noqa: SLF001 - two halves of one thing

    def __enter__(self) -> Self:
        """The turn was given already."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """Give it up."""
        self._exclusive_gate._leave(self)  # noqa: SLF001 - two halves of one thing


class ExclusiveGate:
    """First come, first served; so neither kind starves the other.

    Who is inside never waits for a second turn, so nothing locks up. A thread asks for its turn before it claims a job:
    a job that waits for its turn would be lost with the process as well.
    """

    def __init__(self) -> None:
        self._line: deque[Turn] = deque()
        self._inside: set[Turn] = set()
        self._closed = False
        self._moved = threading.Condition()

    def enter(self, *, alone: bool = False) -> Turn | None:
        """Wait for a turn; None once the exclusive_gate is closed.

        Where somebody waits for a turn alone already, a second one would only empty the process again: it becomes a
        shared turn behind that one.
        """
        with self._moved:
            turn = Turn(self, alone=alone and not any(other.alone for other in self._line))
            self._line.append(turn)
            self._moved.wait_for(lambda: self._closed or self._may_enter(turn))
            self._line.remove(turn)
            if not self._closed:
                self._inside.add(turn)
            self._moved.notify_all()
            return None if self._closed else turn

    @property
    def closed(self) -> bool:
        """True once nobody enters any more."""
        return self._closed

    def close(self) -> None:
        """Nobody enters any more; whoever waits is turned away, whoever is inside may end."""
        with self._moved:
            self._closed = True
            self._moved.notify_all()

    def _may_enter(self, turn: Turn) -> bool:
        if self._line[0] is not turn:
            return False
        return not self._inside if turn.alone else not any(other.alone for other in self._inside)

    def _leave(self, turn: Turn) -> None:
        with self._moved:
            self._inside.discard(turn)
            self._moved.notify_all()

    def _change(self, turn: Turn, *, alone: bool) -> None:
        with self._moved:
            turn.alone = alone
            self._moved.notify_all()
