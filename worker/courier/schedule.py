"""Decide when to retry and when to pause a destination. Pure: randomness comes in as an argument."""

from collections.abc import Sequence
from typing import Final

JITTER: Final = 0.2
"""Maximum jitter as a fraction of the delay, so that deliveries that failed together do not retry together."""
MOST_RETRY_AFTER: Final = 3600.0
"""Cap on `Retry-After`, in seconds: a response must not stop an endpoint for days."""
PATIENCE: Final = 5
"""Consecutive failures after which a destination is paused."""
FIRST_REST: Final = 5.0
LONGEST_REST: Final = 300.0


def again_in(tries: int, *, retries: Sequence[float], chance: float, retry_after: float | None = None) -> float | None:
    """Return the seconds until the next attempt after `tries` failed ones, or None after the last.

    Args:
        tries: attempts made so far, at least 1.
        retries: seconds before each retry, as Standard Webhooks suggests.
        chance: random number in [0, 1) that scales the jitter.
        retry_after: minimum delay requested by the receiver, in seconds; capped at `MOST_RETRY_AFTER`.
    """
    if tries > len(retries):
        return None
    return max(retries[tries - 1] * (1 + JITTER * chance), min(retry_after or 0.0, MOST_RETRY_AFTER))


def rest(failures: int) -> float:
    """Return the seconds that a destination is paused after consecutive failures; a single probe follows.

    Zero below `PATIENCE` failures, then doubling up to five minutes.
    """
    if failures < PATIENCE:
        return 0.0
    return min(FIRST_REST * 2.0 ** min(failures - PATIENCE, 30), LONGEST_REST)
