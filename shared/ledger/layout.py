"""The layout of the ledger: its number of shards, which every process must agree on."""

import redis
from redis import exceptions

from shared.errors import ErrorCode, SettingsError, UnavailableError
from shared.ledger import keys, scripts
from shared.ledger.connection import store_errors

IN_USE = ("queue", "fetch", "leases", "expiry", "sessions", "outbox", "due")
"""Keys of a shard. If none of them exists, the shard contains nothing that a different layout would lose."""


class Layout:
    """The layout stored in the ledger. Thread-safe."""

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._shards = shards
        self._layout = scripts.register(client, "layout", beside=__package__, parts=())

    def check(self) -> None:
        """Check that the ledger accepts writes and has the layout of this process.

        Raises:
            UnavailableError: `store_unavailable`.
        """
        stored = self._read()
        if stored != self._shards:
            detail = f"The job store was set up with {stored} shards; this process is configured for {self._shards}."
            raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, detail)

    def settle(self) -> None:
        """Agree on the layout at process start. An empty ledger takes the layout of the first process.

        Raises:
            SettingsError: the ledger has data in a different layout or accepts no writes; one line says what to do.
            UnavailableError: `store_unavailable`.
        """
        try:
            stored = self._read()
        except UnavailableError as error:
            if isinstance(error.__cause__, exceptions.ReadOnlyError):
                msg = "VULTUS_LEDGER_URL names a read-only replica; name its primary, or use redis+sentinel://"
                raise SettingsError(msg) from error
            if str(error.__cause__).startswith("MISCONF"):
                msg = "The ledger cannot write to its disk; free space or repair the disk, then start again"
                raise SettingsError(msg) from error
            raise
        if stored == self._shards:
            return
        if self._in_use(stored):
            msg = (
                f"VULTUS_SHARDS is {self._shards}, but the ledger has data of {stored} shards: "
                f"set VULTUS_SHARDS={stored} on every process, or start with an empty ledger"
            )
            raise SettingsError(msg)
        with store_errors():
            self._client.set(keys.LAYOUT, self._shards)

    def _read(self) -> int:
        with store_errors():
            return int(self._layout(keys=[keys.LAYOUT], args=[self._shards]))

    def _in_use(self, shards: int) -> bool:
        with store_errors():
            return any(self._client.exists(f"{keys.prefix(n)}{name}") for n in range(shards) for name in IN_USE)
