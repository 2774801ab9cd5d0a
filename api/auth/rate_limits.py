"""Rate limits: named token buckets, and the response headers that report them."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

ROUNDING: Final = 1e-9
"""Tolerance for floating-point rounding, in seconds."""
MAX_BUCKETS: Final = 10_000
"""Above this number of buckets, full ones are dropped, which their owners cannot notice."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of taking one token."""

    allowed: bool
    burst: int
    window: int
    """Seconds in which an empty bucket fills."""
    remaining: int
    reset: int
    """Seconds until the bucket is full again."""
    retry_after: timedelta = timedelta(0)

    @property
    def headers(self) -> dict[str, str]:
        """`RateLimit-Policy` and `RateLimit`, as defined in draft-ietf-httpapi-ratelimit-headers."""
        return {
            "RateLimit-Policy": f'"key";q={self.burst};w={self.window}',
            "RateLimit": f'"key";r={self.remaining};t={self.reset}',
        }


class Buckets:
    """Token buckets, each stored as the time when it will be full (GCRA, ITU-T I.371). Runs on the event loop."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._full_at: dict[str, float] = {}

    def take(self, name: str, *, rate: float, burst: int) -> Decision:
        """Take a token from a bucket that holds `burst` tokens and refills at `rate` tokens per second."""
        now = self._now()
        full_at = max(self._full_at.get(name, now), now)
        window = math.ceil(burst / rate)
        wait = full_at - now - (burst - 1) / rate
        if wait > ROUNDING:
            return Decision(
                allowed=False,
                burst=burst,
                window=window,
                remaining=0,
                reset=math.ceil(full_at - now),
                retry_after=timedelta(seconds=wait),
            )
        full_at += 1 / rate
        if len(self._full_at) >= MAX_BUCKETS:
            self._full_at = {other: at for other, at in self._full_at.items() if at > now}
        self._full_at[name] = full_at
        left = full_at - now
        return Decision(
            allowed=True,
            burst=burst,
            window=window,
            remaining=max(0, math.floor(burst - left * rate + ROUNDING)),
            reset=math.ceil(left),
        )
