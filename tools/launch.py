"""Starts `make up` and `make demo`, so that they end with a line, not a traceback, however early they are interrupted.

Loading their modules takes a third of a second, in which an interrupt would end in the middle of an import.
"""

import importlib
import signal
import sys
from typing import Final

TOOLS: Final = ("up", "demo")


def main() -> int:
    """Run the tool that the command line names; its exit status."""
    _, name = sys.argv
    if name not in TOOLS:
        sys.exit(f"usage: python -m tools.launch {'|'.join(TOOLS)}")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(f"make {name}: stopped before it had started"))
    module = importlib.import_module(f"tools.{name}")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status: int = module.main()
    return status


if __name__ == "__main__":
    sys.exit(main())
