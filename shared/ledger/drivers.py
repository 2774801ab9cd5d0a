"""Connections that the driver lacks: to any node of a cluster, and to sentinels that are let go with their pool."""

from collections.abc import Iterator

import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel


class AnyNode(redis.asyncio.Connection):
    """A connection that tries one node after the other each time it reconnects."""

    def __init__(self, *, nodes: Iterator[tuple[str, int]], **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._nodes = nodes

    async def connect(self) -> None:
        """Connect to the next node."""
        if not self.is_connected:
            self.host, self.port = next(self._nodes)
        await super().connect()  # type: ignore[no-untyped-call]


class AnyNodeOverTls(AnyNode, redis.asyncio.SSLConnection):
    """The same, over TLS."""


class SentinelPool(redis.sentinel.SentinelConnectionPool):
    """Connections to the primary that the sentinels name; closing it closes those to the sentinels too."""

    def close(self) -> None:
        """Give all connections back."""
        super().close()
        for sentinel in self.sentinel_manager.sentinels:
            sentinel.close()


class AsyncSentinelPool(redis.asyncio.sentinel.SentinelConnectionPool):
    """The same, for the event loop."""

    async def aclose(self) -> None:
        """Give all connections back."""
        await super().aclose()
        for sentinel in self.sentinel_manager.sentinels:
            await sentinel.aclose()
