"""The command line of model packs: `python -m worker.packs`."""

import sys

from worker.packs.cli import main

if __name__ == "__main__":
    sys.exit(main())
