"""A 202 promises that the job was on disk before the response left. Checked with the server's own system calls.

`fdatasync` of the append-only file counts. strace observes it from outside, so the server cannot report it falsely.
"""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger
from tests.integration.breaking import breakable, picture
from tests.integration.servers import Server
from tests.integration.test_ledger import accept
from tools.stack import Store

CLIENTS = 16
EACH = 10
CALLS = "trace=write,writev,fdatasync,fsync"
LINE = re.compile(r"^\d+ +(?P<at>\d+\.\d+) (?P<what>.*)$")
WRITTEN = re.compile(r"^writev?\(\d+<[^>]*\.aof>")
SYNCED = re.compile(
    r"^(?:f(?:data)?sync\(\d+<[^>]*\.aof>\)|<\.\.\. f(?:data)?sync resumed>.*) += 0 <(?P<took>[\d.]+)>$"
)


@dataclass(frozen=True)
class Answer:
    """An accepted job, and when its client knew."""

    job_id: str
    at: float


@dataclass
class Trace:
    """The server's writes to its append-only file, and when they were on disk."""

    lines: list[tuple[float, str]] = field(default_factory=list)

    def read(self, text: str) -> None:
        self.lines = [(float(found["at"]), found["what"]) for line in text.splitlines() if (found := LINE.match(line))]

    @property
    def syncs(self) -> int:
        return sum(SYNCED.match(what) is not None for _, what in self.lines)

    def on_disk(self, job_id: str) -> float:
        """When the first sync finished after everything of this job's acceptance had been written."""
        writes = [n for n, (_, what) in enumerate(self.lines) if WRITTEN.match(what) and job_id in what]
        assert writes, f"{job_id} was not written"
        for at, what in self.lines[writes[0] :]:
            found = SYNCED.match(what)
            if found:
                return at if what.startswith("<") else at + float(found["took"])
        pytest.fail(f"{job_id} was never synced")


@contextmanager
def traced(pid: int, written: Path) -> Iterator[Trace]:
    """Trace every write and sync of a process meanwhile."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: nobody can watch the server's system calls")
    watcher = subprocess.Popen(
        [strace, "-f", "-ttt", "-T", "-y", "-s", "1000000", "-e", CALLS, "-o", str(written), "-p", str(pid)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watcher.stderr is not None
    with watcher.stderr as log:
        first = log.readline()
        if "attached" not in first:
            watcher.wait(5)
            pytest.skip(f"strace may not watch the server here: {first.strip()}")
        trace = Trace()
        try:
            yield trace
        finally:
            time.sleep(1.2)  # the sync of `everysec`
            watcher.send_signal(signal.SIGINT)
            watcher.wait(10)
    trace.read(written.read_text(encoding="utf-8", errors="replace"))


def sixteen(one: Callable[[], str]) -> list[Answer]:
    """Run this many clients at once, each with its jobs one after the other."""

    def client(_: int) -> list[Answer]:
        return [Answer(one(), time.time()) for _ in range(EACH)]

    with ThreadPoolExecutor(CLIENTS) as pool:
        return [answer for answers in pool.map(client, range(CLIENTS)) for answer in answers]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    own = Server(Store("ledger", tmp_path / "ledger", durable=True))
    own.start()
    yield own
    own.service.stop()


def answered(server: Server, written: Path) -> tuple[Trace, list[Answer]]:
    with connect(server.url) as client:
        ledger = Ledger(client, shards=1, lease=timedelta(seconds=9))
        with traced(server.service.pid, written) as trace:
            answers = sixteen(lambda: accept(ledger, limit=1000))
    return trace, answers


def early(trace: Trace, answers: list[Answer]) -> list[Answer]:
    """Jobs whose client was answered before they were on disk."""
    return [answer for answer in answers if answer.at < trace.on_disk(answer.job_id)]


def test_jobs_are_on_disk_before_the_answer_and_clients_share_syncs(server: Server, tmp_path: Path) -> None:
    trace, answers = answered(server, tmp_path / "trace")
    assert len(answers) == CLIENTS * EACH
    assert early(trace, answers) == []
    assert 1 <= trace.syncs < len(answers)


def test_the_relaxed_promise_answers_before_the_job_is_on_disk(server: Server, tmp_path: Path) -> None:
    with server.store.client() as client:
        client.config_set("appendfsync", "everysec")
    trace, answers = answered(server, tmp_path / "trace")
    assert len(early(trace, answers)) > len(answers) / 2
    late = max(trace.on_disk(answer.job_id) - answer.at for answer in answers)
    assert late < 2.5  # seconds; this much may be lost in a power failure


def test_no_202_leaves_the_gateway_before_the_job_is_on_disk(tmp_path: Path) -> None:
    image = picture()

    def submit() -> str:
        answer = requests.post(url, data={"operation": "detect"}, files={"image": image}, timeout=30)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    with breakable(tmp_path / "stack", workers=0, ready=False) as stack:
        url = f"{stack.url}/v1/jobs"
        with traced(stack.stores[0].pid, tmp_path / "trace") as trace:
            answers = sixteen(submit)
    assert len(answers) == CLIENTS * EACH
    assert early(trace, answers) == []
