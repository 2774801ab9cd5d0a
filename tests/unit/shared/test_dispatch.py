"""The doorbell never fails its caller, even in a process that gets no new thread, and counts pending rings rarely."""

import threading
from datetime import timedelta

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from shared.dispatch import ENOUGH, Doorbell, celery_app


def test_a_ring_without_a_thread_is_kept_and_the_bell_still_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    bell = Doorbell(celery_app(SecretStr("redis://127.0.0.1:1/0")))

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with capture_logs() as lines:
        bell.ring(times=2)
    assert [line["event"] for line in lines] == ["doorbell.delayed"]
    monkeypatch.undo()
    bell.ring()  # the next ring tries again
    assert [thread.name for thread in threading.enumerate() if thread.name == "doorbell"] == ["doorbell"]
    bell.close()


class FullBroker(Doorbell):
    """A doorbell whose broker has enough pending rings. Each count waits for permission."""

    def __init__(self, *, gather: timedelta) -> None:
        super().__init__(celery_app(SecretStr("redis://127.0.0.1:1/0")), gather=gather)
        self.counts = 0
        self.counting, self.may_count = threading.Event(), threading.Semaphore(0)

    def _unanswered(self) -> int:
        self.counting.set()
        assert self.may_count.acquire(timeout=10)
        self.counts += 1
        return ENOUGH


def test_one_count_drops_all_waiting_rings_and_the_next_one_waits() -> None:
    bell = FullBroker(gather=timedelta(hours=1))
    bell.ring(times=5)
    assert bell.counting.wait(timeout=10)
    bell.ring(times=2)  # during the count, so it may not know of them
    for _ in range(2):
        bell.may_count.release()
    bell.close()
    assert (bell.counts, bell._unsent) == (1, 2)


def test_rings_that_gathered_are_counted_for_together() -> None:
    bell = FullBroker(gather=timedelta(0))
    bell.ring(times=5)
    assert bell.counting.wait(timeout=10)
    bell.counting.clear()
    bell.ring(times=3)
    bell.may_count.release()
    assert bell.counting.wait(timeout=10)  # the second count
    bell.may_count.release()
    bell.close()
    assert (bell.counts, bell._unsent) == (2, 0)
