"""The doorbell never fails its caller, even in a process that gets no new thread."""

import threading

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from shared.dispatch import Doorbell, celery_app


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
