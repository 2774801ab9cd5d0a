"""A periodic thread survives errors of its step and of logging, and ends when it is stopped."""

import threading
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from shared import periodic
from shared.periodic import PeriodicThread


class Scripted(PeriodicThread):
    """Raises these errors one after the other, then stops."""

    def __init__(self, *errors: BaseException | None) -> None:
        super().__init__("scripted", every=timedelta(milliseconds=1))
        self.errors = list(errors)
        self.steps = 0
        self.over = threading.Event()

    def step(self) -> None:
        self.steps += 1
        if not self.errors:
            self.over.set()
            self._stopping.set()
        elif (error := self.errors.pop(0)) is not None:
            raise error


def run(*errors: BaseException | None) -> int:
    """Return the number of steps until the thread ended."""
    thread = Scripted(*errors)
    thread.start()
    assert thread.over.wait(30)
    thread.stop()
    assert not thread._thread.is_alive()
    return thread.steps


def test_an_error_in_a_step_does_not_end_the_thread() -> None:
    assert run(ValueError(), None, MemoryError(), KeyError()) == 5


def test_an_error_is_logged_under_the_name_of_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    class Log:
        def exception(self, event: str) -> None:
            events.append(event)

    monkeypatch.setattr(periodic, "log", Log())
    run(ValueError(), None)
    assert events == ["scripted.failed"]


def test_out_of_memory_is_logged_without_a_traceback() -> None:
    with capture_logs() as logs:
        run(MemoryError("no room for a thread"), MemoryError())
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("scripted.failed", "warning")] * 2
    assert logs[0]["detail"] == "no room for a thread"


def test_the_thread_goes_on_without_memory_for_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mute:
        def exception(self, _event: str) -> None:
            raise MemoryError

        def warning(self, _event: str, **_fields: str) -> None:
            raise MemoryError

    monkeypatch.setattr(periodic, "log", Mute())
    assert run(MemoryError(), ValueError()) == 3


def test_stop_ends_the_thread_before_its_first_step() -> None:
    class Slow(Scripted):
        def __init__(self) -> None:
            PeriodicThread.__init__(self, "slow", every=timedelta(hours=1), patience=None)

        def step(self) -> None:
            raise AssertionError

    thread = Slow()
    thread.start()
    thread.stop()
    assert not thread._thread.is_alive()
