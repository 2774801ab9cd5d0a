"""One contender in a process of its own, which works when it is told to: what one sets for its process helps no other.

The child reads a question for each line (`python -m bench.contender ours`) and answers with a line of JSON.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from functools import cache
from types import TracebackType
from typing import Any, Literal, Self

from bench import pictures
from tools.setup import ROOT

Kind = Literal["ours", "bare", "face_analysis", "face_analysis_defaults"]


class Contender:
    """The parent's end of one child. A context manager: leaving it ends the child."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "bench.contender", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
        )

    def __enter__(self) -> Self:
        """It is starting already."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """The end of its questions ends it."""
        if self._child.stdin:
            self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._child.stdout:
            self._child.stdout.close()

    def once(self, piece: str, picture: str) -> float:
        """Processor seconds of one run of a piece of work, on one thread."""
        self.ask(piece, picture)
        return float(self.answer()["cpu"])

    def ask(self, piece: str, picture: str, *, threads: int = 0, seconds: float = 0.0) -> None:
        """Start a piece of work: once, or on some threads for some seconds."""
        if self._child.stdin is None:
            raise BrokenPipeError(self.kind)
        question = {"piece": piece, "picture": picture, "threads": threads, "seconds": seconds}
        self._child.stdin.write(json.dumps(question) + "\n")
        self._child.stdin.flush()

    def answer(self) -> dict[str, float]:
        """Its outcome: `cpu` seconds, and with threads `rate` per second and `count`.

        Raises:
            RuntimeError: the child ended; its own error is above, on standard error.
        """
        line = self._child.stdout.readline() if self._child.stdout else ""
        if not line:
            msg = f"the {self.kind} contender ended: see above"
            raise RuntimeError(msg)
        found: dict[str, float] = json.loads(line)
        return found


def serve(kind: str) -> None:
    """The child: answer every question until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    offered = _offer(kind)

    @cache
    def warmed(picture: str, piece: str) -> Any:
        work = offered(pictures.named(picture))[piece]
        for _ in range(3):
            work()
        return work

    for line in sys.stdin:
        question = json.loads(line)
        work = warmed(question["picture"], question["piece"])
        threads, seconds = question["threads"], question["seconds"]
        begin = time.process_time()
        found = rate(work, threads=threads, seconds=seconds) if threads else once(work)
        answers.write(json.dumps({**found, "cpu": time.process_time() - begin}) + "\n")
        answers.flush()


def _offer(kind: str) -> Any:
    """What this kind can do; each imports no more than it needs, and the parent none of it."""
    if kind in {"ours", "bare"}:
        from bench import pieces  # noqa: PLC0415

        return pieces.ours() if kind == "ours" else pieces.bare()
    from bench import baseline_service  # noqa: PLC0415

    return baseline_service.face_analysis(defaults=kind == "face_analysis_defaults")


def once(work: Any) -> dict[str, float]:
    """One run."""
    work()
    return {"count": 1.0}


def rate(work: Any, *, threads: int, seconds: float) -> dict[str, float]:
    """Runs per second of a piece of work on this many threads, and their count."""
    ends: list[float] = []
    counts = [0] * threads
    begin = time.perf_counter()

    def loop(number: int) -> None:
        while time.perf_counter() - begin < seconds:
            work()
            counts[number] += 1
        ends.append(time.perf_counter())

    pool = [threading.Thread(target=loop, args=(number,)) for number in range(threads)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    return {"rate": sum(counts) / (statistics.fmean(ends) - begin), "count": float(sum(counts))}


if __name__ == "__main__":
    serve(sys.argv[1])
