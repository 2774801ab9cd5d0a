"""Connections that the driver lacks: to any node of a cluster, and to sentinels that are closed with their pool."""

from collections.abc import Iterator

import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel


class AnyNode(redis.asyncio.Connection):
    """A connection that goes to the next node each time it reconnects."""

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
    """Connections to the primary that the sentinels name. Closing the pool also closes those to the sentinels."""

    def close(self) -> None:
        """Close all connections."""
        super().close()
        for sentinel in self.sentinel_manager.sentinels:
            sentinel.close()


class AsyncSentinelPool(redis.asyncio.sentinel.SentinelConnectionPool):
    """The same, for the event loop."""

    async def aclose(self) -> None:
        """Close all connections."""
        await super().aclose()
        for sentinel in self.sentinel_manager.sentinels:
            await sentinel.aclose()
