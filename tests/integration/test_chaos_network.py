"""The bad network of the storms behaves as described: slow, stalled, cut, or without some of the responses."""

import contextlib
import time
from collections.abc import Iterator

import pytest
import redis

from tests.chaos.network import Line
from tests.integration.servers import Server


@pytest.fixture
def line(broker_server: Server) -> Iterator[Line]:
    with Line(broker_server.store.port, seed=1) as running:
        yield running


@pytest.fixture
def client(line: Line, broker_server: Server) -> Iterator[redis.Redis]:
    url = broker_server.store.url.replace(f":{broker_server.store.port}/", f":{line.port}/")
    with redis.Redis.from_url(url, socket_timeout=1, retry=None) as found:
        yield found


def failures(client: redis.Redis, times: int) -> int:
    count = 0
    for _ in range(times):
        try:
            client.incr("count")
        except redis.RedisError:
            count += 1
    return count


def test_a_clear_connection_changes_nothing(client: redis.Redis, line: Line) -> None:
    value = b"x" * 300_000
    client.set("key", value)
    assert client.get("key") == value
    assert (failures(client, 50), line.connections) == (0, 1)


def test_a_slow_connection_is_slow_in_both_directions(client: redis.Redis, line: Line) -> None:
    client.ping()
    line.slow(0.1)
    begin = time.monotonic()
    client.ping()
    assert time.monotonic() - begin >= 0.2


def test_a_stalled_connection_forwards_everything_once_it_is_clear(client: redis.Redis, line: Line) -> None:
    client.ping()
    line.stall()
    with pytest.raises(redis.TimeoutError):
        client.ping()
    line.clear()
    assert client.ping()


def test_a_cut_connection_resets_open_and_new_connections(client: redis.Redis, line: Line) -> None:
    client.ping()
    line.cut()
    assert failures(client, 3) == 3
    line.clear()
    assert failures(client, 3) == 0


def test_the_store_did_its_work_even_if_responses_are_lost(
    client: redis.Redis, line: Line, broker_server: Server
) -> None:
    client.ping()
    line.swallow()
    failed = failures(client, 50)
    line.clear()
    assert 0 < failed < 50
    with broker_server.store.client() as there:
        done = int(there.get("count") or 0)
    assert done > 50 - failed  # some of the failed calls took effect
    with contextlib.suppress(redis.RedisError):
        client.ping()
    assert line.swallowed >= failed / 2
