"""How we connect to the ledger: short time-outs, one retry, and our own errors instead of the driver's."""

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, cast

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from pydantic import SecretStr
from redis import exceptions
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry

from shared.errors import ErrorCode, SettingsError, UnavailableError
from shared.ledger.addresses import Kind, read_address
from shared.ledger.drivers import AnyNode, AnyNodeOverTls, AsyncSentinelPool, SentinelPool

CONNECT_TIMEOUT: Final = 2.0
"""Seconds; a frozen server must not hold a gateway thread for longer."""
READ_TIMEOUT: Final = 5.0
"""Seconds; covers a 2 x 5 MB accept with an fsync on a slow disk."""
SENTINEL_TIMEOUT: Final = 1.0
"""Seconds; a sentinel answers at once, and there are others."""
LISTEN: Final = timedelta(seconds=1)
"""How often whoever listens looks up, to see whether it is to stop."""
PASSING: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ClusterError,
    exceptions.AskError,
    exceptions.TryAgainError,
    exceptions.ReadOnlyError,
)
"""What a store says that is gone, loads, or has its slots or its primary moved just now."""
PASSING_WORDS: Final = frozenset({"NOREPLICAS", "MISCONF"})
"""The same, where the driver has no error of its own: too few replicas follow; the disk takes nothing."""


def connect(url: SecretStr) -> redis.Redis:
    """A client for threads. Of a cluster it asks for the layout at once, of others nothing yet.

    Its one retry covers pooled connections that a restarted server has forgotten. Every step is safe to run twice:
    `accept` knows the id, a `claim` whose answer was lost runs out, `finish` is fenced.

    Raises:
        SettingsError: the address is wrong.
        UnavailableError: no node of the cluster answers.
    """
    address = read_address(url)
    retry = Retry(NoBackoff(), 1)
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": READ_TIMEOUT,
        "retry": retry,
        **address.keepalive,
        **address.options,
    }
    if address.kind is Kind.CLUSTER:
        return _cluster(address.nodes, options)
    options["retry_on_error"] = [exceptions.ConnectionError]
    if address.kind is Kind.SERVER:
        return redis.Redis.from_url(address.url, **options)
    asked = _of_sentinels(address.sentinel_options, retry)
    sentinels = redis.sentinel.Sentinel(address.nodes, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
    return redis.Redis.from_pool(SentinelPool(address.service, sentinels, **options))  # type: ignore[no-untyped-call]


def _cluster(nodes: Sequence[tuple[str, int]], options: Mapping[str, Any]) -> redis.Redis:
    """A client of a cluster: another class, but all that we use of a client is there too."""
    startup = [ClusterNode(*node) for node in nodes]  # type: ignore[no-untyped-call]
    try:
        with _told_from_a_wrong_password(), store_errors():
            cluster: object = redis.RedisCluster(startup_nodes=startup, require_full_coverage=False, **options)
    except exceptions.RedisClusterException as error:  # none of its nodes answers as one
        msg = "VULTUS_LEDGER_URL names a cluster, but the server there is no node of one, or hides it from its user"
        raise SettingsError(msg) from error
    return cast("redis.Redis", cluster)


def connect_async(url: SecretStr) -> redis.asyncio.Redis:
    """A client for the gateway's one subscription; it may listen for ever.

    Of a cluster it hears any one node: what is published at one is passed on to all.

    Raises:
        SettingsError: the address is wrong.
    """
    address = read_address(url)
    timed: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": None,
        **address.keepalive,
    }
    if address.kind is Kind.SERVER:
        return redis.asyncio.Redis.from_url(address.url, **timed)
    if address.kind is Kind.CLUSTER:
        options = dict(address.options)
        connection_class = AnyNodeOverTls if options.pop("ssl", False) else AnyNode
        pool = redis.asyncio.ConnectionPool(
            connection_class=connection_class, nodes=itertools.cycle(address.nodes), **timed, **options
        )
        return redis.asyncio.Redis.from_pool(pool)
    asked = _of_sentinels(address.sentinel_options, AsyncRetry(NoBackoff(), 1))
    sentinels = redis.asyncio.sentinel.Sentinel(address.nodes, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
    pool = AsyncSentinelPool(address.service, sentinels, **timed, **address.options)  # type: ignore[no-untyped-call]
    return redis.asyncio.Redis.from_pool(pool)


def _of_sentinels(options: Mapping[str, Any], retry: Retry | AsyncRetry) -> dict[str, Any]:
    return {
        "socket_connect_timeout": SENTINEL_TIMEOUT,
        "socket_timeout": SENTINEL_TIMEOUT,
        "socket_keepalive": True,
        "retry": retry,
        **options,
    }


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn the driver's errors that pass into ours.

    Raises:
        UnavailableError: `store_unavailable`: the ledger is gone, frozen, loading, out of memory, or a part of it is
            being replaced by its replica.
    """
    try:
        yield
    except PASSING as error:
        raise _away() from error
    except exceptions.RedisClusterException as error:
        # Stands outside the driver's tree of errors. Without a cause it is no outage but a mistake of ours.
        if not isinstance(error.__cause__, exceptions.RedisError | OSError):
            raise
        raise _away() from error
    except exceptions.OutOfMemoryError as error:
        raise UnavailableError(
            ErrorCode.STORE_UNAVAILABLE, "The job store has no memory left; try again when jobs have ended."
        ) from error
    except exceptions.ResponseError as error:
        if str(error).split(" ", 1)[0] not in PASSING_WORDS:
            raise
        raise _away() from error


def still_loads(error: UnavailableError) -> bool:
    """True where a store is there and reads its file: it comes by itself, however long that takes."""
    return isinstance(error.__cause__, exceptions.BusyLoadingError)


def _away() -> UnavailableError:
    return UnavailableError(ErrorCode.STORE_UNAVAILABLE, "The job store cannot be reached just now; try again.")


@contextmanager
def _told_from_a_wrong_password() -> Iterator[None]:
    """To the driver it is one more connection that failed; at start it is worth a line of its own."""
    try:
        yield
    except UnavailableError as error:
        causes = (error.__cause__, error.__cause__ and error.__cause__.__cause__)
        if not any(isinstance(cause, exceptions.AuthenticationError) for cause in causes):
            raise
        msg = "The ledger refuses the user or the password in VULTUS_LEDGER_URL"
        raise SettingsError(msg) from error


def is_cluster(client: object) -> bool:
    """True for a client of a cluster: the types say that it is one for a single server, its commands being the same."""
    return isinstance(client, redis.RedisCluster)


def primaries(client: redis.Redis) -> dict[str, redis.Redis]:
    """Every server that takes jobs, by its address in a cluster, which may have changed a moment later."""
    if not is_cluster(client):
        return {"": client}
    cluster: Any = client
    return {node.name: cluster.get_redis_connection(node) for node in cluster.get_primaries()}


def heard(
    client: redis.Redis, channels: Sequence[str], stop: threading.Event, *, every: timedelta = LISTEN
) -> Iterator[str]:
    """What is said in these channels from now on, until `stop`, which is looked at so often; no gap is made up for."""
    while not stop.is_set():
        try:
            with client.pubsub(ignore_subscribe_messages=True) as subscription:  # type: ignore[no-untyped-call]
                subscription.subscribe(*channels)
                while not stop.is_set():
                    message = subscription.get_message(timeout=every.total_seconds())
                    if message is not None and message["type"] == "message":
                        yield message["data"].decode()
        except (redis.RedisError, exceptions.RedisClusterException):
            stop.wait(LISTEN.total_seconds())


def verify_durability(client: redis.Redis, promised: str) -> None:
    """Refuse a ledger that would lose what we said is kept: swapping two URLs must not pass unseen.

    Of a cluster every primary is asked, of a service that sentinels watch its primary of this moment. Replicas are not:
    give them the same configuration.

    Raises:
        SettingsError: the append-only file, its fsync policy or the eviction policy break the promise; or the server is
            a node of a cluster and the address does not say so, a read-only replica, in protected mode, or it refuses
            the password.
        UnavailableError: the server cannot be reached.
    """
    if promised == "unchecked":
        return
    try:
        with _told_from_a_wrong_password(), store_errors():
            wrong = [
                f"{name} {what}".lstrip() for name, one in primaries(client).items() for what in _broken(one, promised)
            ]
            lonely = not is_cluster(client) and client.info("cluster").get("cluster_enabled")
            replica = _is_fixed_replica(client)
    except exceptions.ResponseError as error:
        raise SettingsError(_refusal(error)) from error
    if replica:
        msg = "VULTUS_LEDGER_URL names a read-only replica: name its primary, or the sentinels that know it"
        raise SettingsError(msg)
    if lonely:
        msg = "VULTUS_LEDGER_URL names one server, but it is a node of a cluster: write redis+cluster://"
        raise SettingsError(msg)
    if wrong:
        msg = (
            f"VULTUS_LEDGER_URL points at a server that would lose accepted jobs ({', '.join(wrong)}); "
            f"durability {promised} needs appendonly yes, appendfsync {promised}, maxmemory-policy noeviction"
        )
        raise SettingsError(msg)


def _is_fixed_replica(client: redis.Redis) -> bool:
    """Return True if the address of a single server leads to a replica; sentinels and clusters follow the primary."""
    if is_cluster(client) or isinstance(client.connection_pool, SentinelPool):
        return False
    return client.info("replication").get("role") == "slave"


def _refusal(error: exceptions.ResponseError) -> str:
    """Return one line for a server that answers but does not serve us."""
    reply = str(error)
    if "protected mode" in reply:
        return (
            "The ledger runs in protected mode and refuses connections from other hosts: "
            "give it a password and put that into VULTUS_LEDGER_URL, or start it with --protected-mode no "
            "on a network that nobody else reaches"
        )
    return f"The ledger hides its configuration ({reply}); VULTUS_DURABILITY=unchecked skips the check"


def _broken(primary: redis.Redis, promised: str) -> list[str]:
    allowed = {"appendonly": {"yes"}, "appendfsync": {"always", promised}, "maxmemory-policy": {"noeviction"}}
    found = {name: primary.config_get(name)[name] for name in allowed}
    return [f"{name} is {value}" for name, value in found.items() if value not in allowed[name]]
