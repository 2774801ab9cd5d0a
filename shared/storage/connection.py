"""How we connect to the ledger: short time-outs, one retry, and our own errors instead of the driver's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis
import redis.asyncio
from pydantic import SecretStr
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.errors import ErrorCode, SettingsError, UnavailableError

CONNECT_TIMEOUT: Final = 2.0
"""Seconds; a frozen server must not hold a gateway thread for longer."""
READ_TIMEOUT: Final = 5.0
"""Seconds; covers a 2 x 5 MB accept with an fsync on a slow disk."""


def connect(url: SecretStr) -> redis.Redis:
    """A client for threads.

    Its one retry covers pooled connections that a restarted server has forgotten. Every step is safe to run twice:
    `accept` knows the id, a `claim` whose answer was lost runs out, `finish` is fenced.
    """
    return redis.Redis.from_url(
        url.get_secret_value(),
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=READ_TIMEOUT,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[exceptions.ConnectionError],
    )


def connect_async(url: SecretStr) -> redis.asyncio.Redis:
    """A client for the gateway's one subscription; it may listen for ever."""
    return redis.asyncio.Redis.from_url(
        url.get_secret_value(), socket_connect_timeout=CONNECT_TIMEOUT, socket_timeout=None, socket_keepalive=True
    )


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn the driver's connection errors into ours.

    Raises:
        UnavailableError: `store_unavailable`: the ledger is gone, frozen, loading, or out of memory.
    """
    try:
        yield
    except (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.BusyLoadingError) as error:
        raise UnavailableError(
            ErrorCode.STORE_UNAVAILABLE, "The job store cannot be reached just now; try again."
        ) from error
    except exceptions.OutOfMemoryError as error:
        raise UnavailableError(
            ErrorCode.STORE_UNAVAILABLE, "The job store has no memory left; try again when jobs have ended."
        ) from error


def verify_durability(client: redis.Redis, promised: str) -> None:
    """Refuse a ledger that would lose what we said is kept: swapping two URLs must not pass unseen.

    Raises:
        SettingsError: the append-only file, its fsync policy or the eviction policy break the promise.
        UnavailableError: the server cannot be reached.
    """
    if promised == "unchecked":
        return
    with store_errors():
        try:
            found = {
                "appendonly": client.config_get("appendonly")["appendonly"],
                "appendfsync": client.config_get("appendfsync")["appendfsync"],
                "maxmemory-policy": client.config_get("maxmemory-policy")["maxmemory-policy"],
            }
        except exceptions.ResponseError as error:
            msg = f"The ledger hides its configuration ({error}); VULTUS_DURABILITY=unchecked trusts it unseen"
            raise SettingsError(msg) from error
    allowed = {"appendonly": {"yes"}, "appendfsync": {"always"}, "maxmemory-policy": {"noeviction"}}
    if promised == "everysec":
        allowed["appendfsync"].add("everysec")
    wrong = [f"{name} is {value}" for name, value in found.items() if value not in allowed[name]]
    if wrong:
        msg = (
            f"VULTUS_LEDGER_URL points at a server that would lose accepted jobs ({', '.join(wrong)}); "
            f"durability {promised} needs appendonly yes, appendfsync {promised}, maxmemory-policy noeviction"
        )
        raise SettingsError(msg)
