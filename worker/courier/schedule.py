"""When to try again, and when to leave a destination alone. Pure: chance comes in as an argument."""

from collections.abc import Sequence
from typing import Final

JITTER: Final = 0.2
"""The most that chance adds to a delay, as a share of it: what failed together does not come back together."""
MOST_RETRY_AFTER: Final = 3600.0
"""Seconds. A longer `Retry-After` counts as this: an answer must not stop an endpoint for days."""
PATIENCE: Final = 5
"""Failures in a row after which a destination rests."""
FIRST_REST: Final = 5.0
LONGEST_REST: Final = 300.0


def again_in(tries: int, *, retries: Sequence[float], chance: float, retry_after: float | None = None) -> float | None:
    """Seconds from the `tries`-th attempt, which failed, to the next; None where that was the last.

    Args:
        tries: attempts made so far, at least 1.
        retries: seconds before each further attempt, as Standard Webhooks suggests.
        chance: in [0, 1); adds up to `JITTER` of the delay.
        retry_after: seconds that the receiver asked for: a floor, and at most `MOST_RETRY_AFTER`.
    """
    if tries > len(retries):
        return None
    return max(retries[tries - 1] * (1 + JITTER * chance), min(retry_after or 0.0, MOST_RETRY_AFTER))


def rest(failures: int) -> float:
    """Seconds that a destination rests after so many failures in a row; then one attempt shows how it is.

    None up to `PATIENCE`, then doubling up to five minutes.
    """
    if failures < PATIENCE:
        return 0.0
    return min(FIRST_REST * 2.0 ** min(failures - PATIENCE, 30), LONGEST_REST)
