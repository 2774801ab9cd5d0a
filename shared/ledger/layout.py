"""The layout of the ledger: with how many shards its keys were written. Every process must agree on it."""

import redis
from redis import exceptions

from shared.errors import ErrorCode, SettingsError, UnavailableError
from shared.ledger import keys, scripts
from shared.ledger.connection import store_errors

IN_USE = ("queue", "fetch", "leases", "expiry", "sessions", "outbox", "due")
"""Keys of a shard; where none of them exists, nothing is kept there that another layout would lose sight of."""


class Layout:
    """The layout that the ledger keeps. Safe to share between threads."""

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._shards = shards
        self._layout = scripts.register(client, "layout", beside=__package__, parts=())

    def check(self) -> None:
        """Return if the ledger takes writes and has the layout of this process.

        Raises:
            UnavailableError: `store_unavailable`.
        """
        kept = self._read()
        if kept != self._shards:
            detail = f"The job store was set up with {kept} shards; this process is set to {self._shards}."
            raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, detail)

    def settle(self) -> None:
        """Agree on the layout at the start of a process; an empty ledger takes that of whoever comes first.

        Raises:
            SettingsError: the ledger keeps data in another layout, or takes no writes; one line says what to do.
            UnavailableError: `store_unavailable`.
        """
        try:
            kept = self._read()
        except UnavailableError as error:
            if isinstance(error.__cause__, exceptions.ReadOnlyError):
                msg = "VULTUS_LEDGER_URL names a read-only replica; name its primary, or use redis+sentinel://"
                raise SettingsError(msg) from error
            if str(error.__cause__).startswith("MISCONF"):
                msg = "The ledger cannot write to its disk; free space or repair the disk, then start again"
                raise SettingsError(msg) from error
            raise
        if kept == self._shards:
            return
        if self._in_use(kept):
            msg = (
                f"VULTUS_SHARDS is {self._shards}, but the ledger keeps data of {kept} shards: "
                f"set VULTUS_SHARDS={kept} on every process, or start with an empty ledger"
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
