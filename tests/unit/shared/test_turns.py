"""A thread that takes turns goes on, whatever a turn or the word about it raises."""

import threading

import pytest

from shared import turns
from shared.turns import take_turns


def run(*turns_taken: BaseException | None) -> int:
    """Take these turns, the last of which asks for the end; how many were taken."""
    stop, left, taken = threading.Event(), list(turns_taken), []

    def turn() -> None:
        taken.append(1)
        if not left:
            stop.set()
        elif (error := left.pop(0)) is not None:
            raise error

    thread = threading.Thread(target=take_turns, args=(turn,), kwargs={"every": 0.001, "stop": stop, "failed": "x"})
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    return len(taken)


def test_what_a_turn_raises_ends_nothing() -> None:
    assert run(ValueError(), None, MemoryError(), KeyError()) == 5


def test_where_there_is_no_memory_to_say_so_either_the_next_turn_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mute:
        def exception(self, _event: str) -> None:
            raise MemoryError

    monkeypatch.setattr(turns, "log", Mute())
    assert run(MemoryError(), ValueError()) == 3
