"""How fast a caller may ask: token buckets by name, and the headers that say how full they are."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

ROUNDING: Final = 1e-9
"""Seconds that sums of floating-point numbers may be off."""
MOST: Final = 10_000
"""Buckets kept; beyond, those that are full are forgotten, which changes nothing for their owners."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of asking for one token."""

    allowed: bool
    burst: int
    window: int
    """Seconds in which an empty bucket fills."""
    remaining: int
    reset: int
    """Seconds until it is full again."""
    retry_after: timedelta = timedelta(0)

    @property
    def headers(self) -> dict[str, str]:
        """`RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers has them."""
        return {
            "RateLimit-Policy": f'"key";q={self.burst};w={self.window}',
            "RateLimit": f'"key";r={self.remaining};t={self.reset}',
        }


class Buckets:
    """Token buckets, each one number: when it will be full again (GCRA, ITU-T I.371). Lives on the event loop."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._full_at: dict[str, float] = {}

    def take(self, name: str, *, rate: float, burst: int) -> Taken:
        """Take one of a bucket's `burst` tokens, of which `rate` come back each second; or none, where it is empty."""
        now = self._now()
        full_at = max(self._full_at.get(name, now), now)
        window = math.ceil(burst / rate)
        wait = full_at - now - (burst - 1) / rate
        if wait > ROUNDING:
            return Taken(
                allowed=False,
                burst=burst,
                window=window,
                remaining=0,
                reset=math.ceil(full_at - now),
                retry_after=timedelta(seconds=wait),
            )
        full_at += 1 / rate
        if len(self._full_at) >= MOST:
            self._full_at = {other: at for other, at in self._full_at.items() if at > now}
        self._full_at[name] = full_at
        left = full_at - now
        return Taken(
            allowed=True,
            burst=burst,
            window=window,
            remaining=max(0, math.floor(burst - left * rate + ROUNDING)),
            reset=math.ceil(left),
        )
