"""Connection slots per host, shared fairly between tenants."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """Limits the connections to each host. A tenant may hold at most as many slots as it leaves free.

    A single tenant gets half of the slots, two tenants get a third each, and a newcomer always finds a free slot as
    long as there are more slots than tenants. For use in one event loop.

    Args:
        most: slots per host.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[str, Counter[str]] = {}
        self._freed: dict[str, asyncio.Event] = {}

    @asynccontextmanager
    async def hold(self, host: str, tenant: str) -> AsyncIterator[None]:
        """Wait for a slot at this host and hold it during the block."""
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
