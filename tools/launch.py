"""Start `make up` and `make demo` so that even an early interrupt ends with one line instead of a traceback.

Their imports take a third of a second, and an interrupt during that time would show a traceback.
"""

import importlib
import os
import signal
import sys
from typing import Final

TOOLS: Final = ("up", "demo")


def main() -> int:
    """Run the tool named on the command line; return its exit status."""
    _, name = sys.argv
    if name not in TOOLS:
        sys.exit(f"usage: python -m tools.launch {'|'.join(TOOLS)}")

    def stop(_number: int, _frame: object) -> None:
        # Not SystemExit: libraries that are just being imported catch it and print a traceback.
        os.write(sys.stderr.fileno(), f"make {name}: stopped before it started\n".encode())
        os._exit(1)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    module = importlib.import_module(f"tools.{name}")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status: int = module.main()
    return status


if __name__ == "__main__":
    sys.exit(main())
