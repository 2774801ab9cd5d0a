"""Working without the doorbell: only where jobs wait beside an idle worker for too long, and never twice at once."""

import time

import pytest

from shared.errors import ErrorCode, UnavailableError
from worker.execution import polling_fallback
from worker.execution.polling_fallback import SILENCE, PollingFallback


class Post:
    """A worker's post: a line of jobs, a clock, and whether the worker is busy."""

    def __init__(self, *, line: int) -> None:
        self.line, self.time, self.busy, self.done = line, 0.0, False, 0
        self.refused = False
        self.polling_fallback = PollingFallback(
            waiting=lambda: self.line, busy=lambda: self.busy, work=self.work, now=lambda: self.time
        )

    def work(self) -> bool:
        if not self.line or self.refused:
            return False
        self.line -= 1
        self.done += 1
        return True

    def after(self, seconds: float) -> int:
        """Jobs done once so much time has passed, looked at every second."""
        for _ in range(round(seconds)):
            self.time += 1
            self.polling_fallback.look()
        return self.done


def test_after_a_silent_doorbell_every_queued_job_is_processed() -> None:
    post = Post(line=3)
    assert post.after(SILENCE.total_seconds()) == 0
    assert post.after(1) == 3


def test_a_busy_worker_or_an_empty_queue_needs_no_polling() -> None:
    busy, idle = Post(line=3), Post(line=0)
    busy.busy = True
    assert (busy.after(60), idle.after(60)) == (0, 0)


def test_every_job_from_the_doorbell_restarts_the_wait() -> None:
    post = Post(line=3)
    for _ in range(5):
        assert post.after(SILENCE.total_seconds() - 1) == 0
        post.busy = True
        assert post.after(1) == 0
        post.busy = False


def test_a_job_for_another_version_stays_queued_without_a_log_line(capsys: pytest.CaptureFixture[str]) -> None:
    post = Post(line=1)
    post.refused = True
    assert post.after(60) == 0
    assert "silent" not in capsys.readouterr().out


def test_the_thread_survives_ledger_outages_and_stops_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling_fallback, "LOOK", SILENCE / 500)
    monkeypatch.setattr(polling_fallback, "SILENCE", SILENCE / 100)
    answers = [UnavailableError(ErrorCode.STORE_UNAVAILABLE, "away")] * 3
    line = [1]

    def waiting() -> int:
        if answers:
            raise answers.pop()
        return len(line)

    post = PollingFallback(waiting=waiting, busy=lambda: False, work=lambda: bool(line and line.pop()))
    post.start()
    deadline = time.monotonic() + 60
    while line and time.monotonic() < deadline:
        time.sleep(0.01)
    post.stop()
    assert (line, answers) == ([], [])
