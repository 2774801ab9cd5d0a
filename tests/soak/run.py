"""A soak from the command line: `python -m tests.soak.run --minutes 30`; exits with 1 if anything grew."""

import argparse
import sys

from bench.pictures import portrait
from tests.soak.soak import Plan, soak

SETTLE = 150.0
TTL = 60.0


def main() -> int:
    """Soak a service with real models and print the result; return 1 if it was not flat."""
    parser = argparse.ArgumentParser(description="A steady load for long, and whether anything grows.")
    parser.add_argument("--minutes", type=float, default=30.0)
    arguments = parser.parse_args()
    result = soak(
        Plan(
            seconds=arguments.minutes * 60,
            settle=min(SETTLE, arguments.minutes * 20),
            ttl=TTL,
            engine={"VULTUS_PACK": "compact"},
            operation="embed",
            image=portrait().data,
        )
    )
    sys.stdout.write("".join(f"{line}\n" for line in [*result.lines(), "", *result.findings[:50]]))
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main())
