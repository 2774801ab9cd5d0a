"""Places at each host: how many callbacks run there at once, shared out between tenants."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """Bounds the connections to each host. A tenant holds at most as many places there as it leaves free.

    So one tenant has half of them, two have a third each, and a tenant that comes later finds one free as long as there
    are more places than tenants. For one event loop.

    Args:
        most: places of each host.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[str, Counter[str]] = {}
        self._freed: dict[str, asyncio.Event] = {}

    @asynccontextmanager
    async def hold(self, host: str, tenant: str) -> AsyncIterator[None]:
        """Wait for a place at this host, and hold it."""
        while not self._free(host, tenant):
            await self._freed.setdefault(host, asyncio.Event()).wait()
        self._held.setdefault(host, Counter())[tenant] += 1
        try:
            yield
        finally:
            self._release(host, tenant)

    def _free(self, host: str, tenant: str) -> bool:
        held = self._held.get(host, Counter())
        return held[tenant] < self._most - held.total()

    def _release(self, host: str, tenant: str) -> None:
        held = self._held[host]
        held[tenant] -= 1
        if not held[tenant]:
            del held[tenant]
        if not held:
            del self._held[host]
        if (freed := self._freed.pop(host, None)) is not None:
            freed.set()
