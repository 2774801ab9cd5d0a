"""Connections to the ledger: short timeouts, one retry, and Vultus errors instead of the driver's."""

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
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
"""Seconds; a healthy sentinel answers at once, and there are others."""
LISTEN: Final = timedelta(seconds=1)
"""How often a subscriber checks whether it should stop."""
STORES: Final = {"VULTUS_LEDGER_URL": "ledger", "VULTUS_BROKER_URL": "broker"}
PASSING: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ClusterError,
    exceptions.AskError,
    exceptions.TryAgainError,
    exceptions.ReadOnlyError,
)
"""Errors of a store that is down, is loading, or whose slots or primary are moving."""
PASSING_WORDS: Final = frozenset({"NOREPLICAS", "MISCONF"})
"""Error prefixes with the same meaning but no class in the driver: too few replicas; the disk is not writable."""


def connect(url: SecretStr) -> redis.Redis:
    """Return a client for threads. For a cluster, query its layout; otherwise do not connect yet.

    The client retries once, for pooled connections that a restarted server has dropped. Every step is safe to run
    twice: `accept` recognizes the id, a `claim` whose reply was lost expires, and `finish` is fenced.

    Raises:
        SettingsError: the address is invalid.
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
    sentinel_options = _sentinel_options(address.sentinel_options, retry)
    sentinels = redis.sentinel.Sentinel(address.nodes, sentinel_kwargs=sentinel_options)  # type: ignore[no-untyped-call]
    return redis.Redis.from_pool(SentinelPool(address.service, sentinels, **options))  # type: ignore[no-untyped-call]


def _cluster(nodes: Sequence[tuple[str, int]], options: Mapping[str, Any]) -> redis.Redis:
    """Return a cluster client. Its class differs, but it has all methods that are used here."""
    startup = [ClusterNode(*node) for node in nodes]  # type: ignore[no-untyped-call]
    try:
        with _distinguish_wrong_password(), store_errors():
            cluster: object = redis.RedisCluster(startup_nodes=startup, require_full_coverage=False, **options)
    except exceptions.RedisClusterException as error:  # no node answers as part of a cluster
        msg = "VULTUS_LEDGER_URL names a cluster, but the server is not a cluster node, or its user may not see that"
        raise SettingsError(msg) from error
    return cast("redis.Redis", cluster)


def connect_async(url: SecretStr) -> redis.asyncio.Redis:
    """Return a client for the gateway's subscription, without a read timeout.

    In a cluster it subscribes to any node, because a message published on one node reaches all.

    Raises:
        SettingsError: the address is invalid.
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
    sentinel_options = _sentinel_options(address.sentinel_options, AsyncRetry(NoBackoff(), 1))
    sentinels = redis.asyncio.sentinel.Sentinel(address.nodes, sentinel_kwargs=sentinel_options)  # type: ignore[no-untyped-call]
    pool = AsyncSentinelPool(address.service, sentinels, **timed, **address.options)  # type: ignore[no-untyped-call]
    return redis.asyncio.Redis.from_pool(pool)


def _sentinel_options(options: Mapping[str, Any], retry: Retry | AsyncRetry) -> dict[str, Any]:
    return {
        "socket_connect_timeout": SENTINEL_TIMEOUT,
        "socket_timeout": SENTINEL_TIMEOUT,
        "socket_keepalive": True,
        "retry": retry,
        **options,
    }


@contextmanager
def store_errors() -> Iterator[None]:
    """Convert the driver's temporary errors.

    Raises:
        UnavailableError: `store_unavailable`: the ledger is down, frozen, loading or out of memory, or a failover is
            in progress.
    """
    try:
        yield
    except PASSING as error:
        raise _unavailable(error) from error
    except exceptions.RedisClusterException as error:
        # Not part of the driver's tree of errors. Without a cause it is not an outage but a bug.
        if not isinstance(error.__cause__, exceptions.RedisError | OSError):
            raise
        raise _unavailable(error) from error
    except exceptions.OutOfMemoryError as error:
        raise UnavailableError(
            ErrorCode.STORE_UNAVAILABLE, "The job store is out of memory. Try again when jobs have finished."
        ) from error
    except exceptions.ResponseError as error:
        if str(error).split(" ", 1)[0] not in PASSING_WORDS:
            raise
        raise _unavailable(error) from error


def still_loads(error: UnavailableError) -> bool:
    """Return whether the store is running but still loading its file. It becomes available when it has finished."""
    return isinstance(error.__cause__, exceptions.BusyLoadingError)


def _unavailable(error: Exception) -> UnavailableError:
    loading = isinstance(error, exceptions.BusyLoadingError)
    detail = "The job store is loading its data." if loading else "The job store is unavailable."
    return UnavailableError(ErrorCode.STORE_UNAVAILABLE, f"{detail} Try again.")


@contextmanager
def _distinguish_wrong_password(setting: str = "VULTUS_LEDGER_URL") -> Iterator[None]:
    """Raise a SettingsError for a wrong password, which the driver treats like any failed connection."""
    try:
        yield
    except UnavailableError as error:
        causes = (error.__cause__, error.__cause__ and error.__cause__.__cause__)
        if not any(isinstance(cause, exceptions.AuthenticationError) for cause in causes):
            raise
        msg = f"The {STORES[setting]} refuses the user or the password in {setting}"
        raise SettingsError(msg) from error


def is_cluster(client: object) -> bool:
    """Return whether the client is one of a cluster. Its declared type is that of a single server."""
    return isinstance(client, redis.RedisCluster)


def primaries(client: redis.Redis) -> dict[str, redis.Redis]:
    """Return every primary by its address in a cluster, at this moment; a single server has an empty address."""
    if not is_cluster(client):
        return {"": client}
    cluster: Any = client
    return {node.name: cluster.get_redis_connection(node) for node in cluster.get_primaries()}


def subscribe(
    client: redis.Redis, channels: Sequence[str], stop: threading.Event, *, every: timedelta = LISTEN
) -> Iterator[str]:
    """Yield messages of these channels from now on, until `stop`. Messages during a lost connection are lost."""
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
    """Refuse a ledger that could lose accepted jobs, for example because two URLs were swapped.

    In a cluster every primary is checked; with sentinels, the current primary. Replicas are not checked: give them the
    same configuration.

    Raises:
        SettingsError: the append-only file, its fsync policy or the eviction policy do not give the promised
            durability; or the server is a cluster node but the address is not that of a cluster, is a read-only
            replica, is in protected mode, or refuses the password.
        UnavailableError: the server cannot be reached.
    """
    if promised == "unchecked":
        return
    try:
        with _distinguish_wrong_password(), store_errors():
            wrong = [
                f"{name} {problem}".lstrip()
                for name, primary in primaries(client).items()
                for problem in _problems(primary, promised)
            ]
            single_node = not is_cluster(client) and client.info("cluster").get("cluster_enabled")
            replica = _is_fixed_replica(client)
    except exceptions.ResponseError as error:
        msg = f"The ledger hides its configuration ({error}); VULTUS_DURABILITY=unchecked skips the check"
        raise SettingsError(_protected(error, "VULTUS_LEDGER_URL") or msg) from error
    if replica:
        msg = "VULTUS_LEDGER_URL names a read-only replica: name its primary, or the sentinels that know it"
        raise SettingsError(msg)
    if single_node:
        msg = "VULTUS_LEDGER_URL names one server, but it is a cluster node: write redis+cluster://"
        raise SettingsError(msg)
    if wrong:
        msg = (
            f"VULTUS_LEDGER_URL names a server that could lose accepted jobs ({', '.join(wrong)}); "
            f"durability {promised} requires appendonly yes, appendfsync {promised}, maxmemory-policy noeviction"
        )
        raise SettingsError(msg)


def _is_fixed_replica(client: redis.Redis) -> bool:
    """Return True if the address of a single server leads to a replica; sentinels and clusters follow the primary."""
    if is_cluster(client) or isinstance(client.connection_pool, SentinelPool):
        return False
    return client.info("replication").get("role") == "slave"


def verify_broker(url: SecretStr) -> None:
    """Reject a broker that will never accept a doorbell. One that is down or loading passes, because it may come back.

    Raises:
        SettingsError: it refuses the password, runs in protected mode, or is a read-only replica.
    """
    with closing(connect(url)) as client:
        try:
            with _distinguish_wrong_password("VULTUS_BROKER_URL"), store_errors():
                replica = _is_fixed_replica(client)
        except UnavailableError:
            return
        except exceptions.ResponseError as error:
            reason = _protected(error, "VULTUS_BROKER_URL")
            if reason is None:
                return  # its user may lack the right to ask, and still be able to ring
            raise SettingsError(reason) from error
    if replica:
        msg = "VULTUS_BROKER_URL names a read-only replica, which accepts no doorbells: name its primary"
        raise SettingsError(msg)


def _protected(error: exceptions.ResponseError, setting: str) -> str | None:
    """Return one line for a server in protected mode, None for any other reply."""
    if "protected mode" not in str(error):
        return None
    return (
        f"The {STORES[setting]} runs in protected mode and refuses connections from other hosts: "
        f"set a password and put it into {setting}, or start it with --protected-mode no on a private network"
    )


def _problems(primary: redis.Redis, promised: str) -> list[str]:
    allowed = {"appendonly": {"yes"}, "appendfsync": {"always", promised}, "maxmemory-policy": {"noeviction"}}
    values = {name: primary.config_get(name)[name] for name in allowed}
    return [f"{name} is {value}" for name, value in values.items() if value not in allowed[name]]
