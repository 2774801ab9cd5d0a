"""The traces that a storm leaves in the log and in its processes: tracebacks, restarts, growth."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tests.chaos.census import Usage

GROWTH: Final = Usage(megabytes=64, threads=80, files=80)
"""How much more a process, or its replacement, may use after a storm than at the start.

Threads that wait for the ledger stay for 10 s after their last use, and a courier may have 64 of them (`Courier.run`).
A process that gains more than these, plus a few for odd jobs, leaks.
"""


def grown(before: Mapping[str, Usage], after: Mapping[str, Usage]) -> list[str]:
    """Processes that exceed their allowed growth, one line each."""
    found = []
    for name, then in before.items():
        now = after.get(name)
        if now is None:
            found.append(f"growth: {name} does not run")
            continue
        for what in ("megabytes", "threads", "files"):
            more = getattr(now, what) - getattr(then, what)
            if more > getattr(GROWTH, what):
                found.append(f"growth: {name} has {more:g} more {what} than before")
    return found


OUT_OF_MEMORY: Final = "MemoryError"
"""What threads beside a picture that exhausts memory may write: a traceback for the operator."""
_EVENT: Final = re.compile(r"\d\d:\d\d:\d\d \[")
"""How a log line begins; lines of another thread may stand between those of a traceback."""


def unhandled(log: Sequence[str]) -> list[str]:
    """The exception of each traceback in the log."""
    found = []
    for at, line in enumerate(log):
        if "Traceback" in line:
            name = line.split(" | ")[0]
            own = (later for later in log[at + 1 : at + 400] if later.startswith(f"{name} | "))
            ends = (later for later in own if not later.startswith((f"{name} |   ", f"{name} | +")))
            raised = next((end for end in ends if not _EVENT.match(end.removeprefix(f"{name} | "))), line)
            if OUT_OF_MEMORY not in raised:
                found.append(raised[:300])
    return found


def restarts(log: Sequence[str]) -> int:
    """How often the supervisor restarted something."""
    return sum(line.startswith("stack | ") and "restarting it in" in line for line in log)
