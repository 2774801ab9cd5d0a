"""Run each contender in its own process, so that the settings of one process do not affect another.

The child (`python -m bench.contender ours 3`) reads one JSON request per line and responds with one JSON line.
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

Kind = Literal["ours", "ours_openvino", "bare", "face_analysis", "face_analysis_defaults"]


class Contender:
    """The parent's handle of one child process: a context manager that stops the child on exit."""

    def __init__(self, kind: Kind, *, first: int) -> None:
        """Start the child, which runs a piece of work `first` times before it is timed for the first time."""
        self.kind = kind
        self._child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "bench.contender", kind, str(first)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
        )

    def __enter__(self) -> Self:
        """Return the contender, whose child is already starting."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """Close the child's input, which stops it."""
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
        """Run a piece of work once, on one thread, and return its CPU seconds."""
        self.ask(piece, picture)
        return float(self.answer()["cpu"])

    def ask(self, piece: str, picture: str, *, threads: int = 0, seconds: float = 0.0) -> None:
        """Start a piece of work: once, or on `threads` threads for `seconds`."""
        if self._child.stdin is None:
            raise BrokenPipeError(self.kind)
        request = {"piece": piece, "picture": picture, "threads": threads, "seconds": seconds}
        self._child.stdin.write(json.dumps(request) + "\n")
        self._child.stdin.flush()

    def answer(self) -> dict[str, float]:
        """Return the outcome: `cpu` seconds and `count`, and with threads the `rate` per second.

        Raises:
            RuntimeError: The child exited; its error is on standard error.
        """
        line = self._child.stdout.readline() if self._child.stdout else ""
        if not line:
            msg = f"The {self.kind} contender exited; see the error above."
            raise RuntimeError(msg)
        outcome: dict[str, float] = json.loads(line)
        return outcome


def serve(kind: str, *, first: int) -> None:
    """Run the child: respond to every request until the input ends."""
    responses = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keep library output out of the responses
    offered = _offer(kind)

    @cache
    def warmed(picture: str, piece: str) -> Any:
        work = offered(pictures.named(picture))[piece]
        for _ in range(first):
            work()
        return work

    for line in sys.stdin:
        request = json.loads(line)
        work = warmed(request["picture"], request["piece"])
        threads, seconds = request["threads"], request["seconds"]
        begin = time.process_time()
        outcome = rate(work, threads=threads, seconds=seconds) if threads else once(work)
        responses.write(json.dumps({**outcome, "cpu": time.process_time() - begin}) + "\n")
        responses.flush()


def _offer(kind: str) -> Any:
    """Load the work of this kind; imports are local because the parent needs none of them."""
    if kind in {"ours", "ours_openvino", "bare"}:
        from bench import pieces  # noqa: PLC0415

        return pieces.bare() if kind == "bare" else pieces.ours("openvino" if kind == "ours_openvino" else None)
    from bench import baseline_service  # noqa: PLC0415

    return baseline_service.face_analysis(defaults=kind == "face_analysis_defaults")


def once(work: Any) -> dict[str, float]:
    """Run a piece of work once."""
    work()
    return {"count": 1.0}


def rate(work: Any, *, threads: int, seconds: float) -> dict[str, float]:
    """Run a piece of work on `threads` threads and return its runs per second and their count."""
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
    serve(sys.argv[1], first=int(sys.argv[2]))
