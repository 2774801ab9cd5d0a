"""`python -m tests.starts --count 200`: start a stack over a new cluster repeatedly; each start must succeed.

It is not part of a suite. It hunts for a start that fails rarely, and prints the log of one that does.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.integration.clusters import Cluster
from tests.stacks import FAKE
from tools.ports import free_port
from tools.stack import Stack, StackError

READY = 60


def start(directory: Path) -> float:
    """Return the seconds until the stack over its own cluster is ready.

    Raises:
        StackError: it did not become ready; the message has its last lines.
    """
    log: list[str] = []
    cluster = Cluster(directory / "cluster")
    begin = time.monotonic()
    try:
        cluster.start()
        stack = Stack(
            data=directory / "stack",
            port=free_port(),
            settings=dict(FAKE),
            sink=lambda name, line: log.append(f"{name} | {line}"),
        )
        for service in [stack.gateway, stack.courier, *stack.workers]:
            service.environment = {**service.environment, "VULTUS_LEDGER_URL": cluster.url.get_secret_value()}
        try:
            with stack:
                stack.wait_ready(READY)
                return time.monotonic() - begin
        except StackError as error:
            raise StackError("\n".join([str(error), *log[-60:]])) from None
    finally:
        cluster.stop()


def main() -> int:
    """Start as often as the command line says; return 1 if a start failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=200)
    count = parser.parse_args().count
    seconds: list[float] = []
    for number in range(1, count + 1):
        with tempfile.TemporaryDirectory() as directory:
            try:
                seconds.append(start(Path(directory)))
            except StackError as error:
                print(f"start {number} failed: {error}", file=sys.stderr)  # noqa: T201
                return 1
        print(f"\r{number} of {count}", end="", file=sys.stderr)  # noqa: T201
    print(f"\n{count} starts, median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
