"""The storms' oracle sees what the stores hold: damage to a real ledger is found."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import redis

from shared.jobs import NewJob, new_job_id
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger, Outcome
from shared.operations import Operation
from tests.chaos.oracle import Account, audit
from tests.chaos.stores import endless, snapshot, strange
from tests.integration.breaking import picture
from tests.integration.servers import Server

Damage = Callable[[redis.Redis, str], object]


def submit(ledger: Ledger, key: str) -> Account:
    job = NewJob(
        id=new_job_id(shard=0, now_ms=1),
        operation=Operation.DETECT,
        params={},
        metadata={"key": key},
        image=picture(),
        result_ttl=timedelta(hours=1),
    )
    ledger.accept(job, limits=Limits(100))
    return Account(key, ids={job.id})


@pytest.fixture
def both(ledger_server: Server, broker_server: Server) -> Iterator[tuple[redis.Redis, redis.Redis]]:
    with connect(ledger_server.url) as ledger, connect(broker_server.url) as broker:
        yield ledger, broker


def served(ledger: Ledger, count: int) -> list[Account]:
    accounts = [submit(ledger, f"key-{number}") for number in range(count)]
    for claim in iter(lambda: ledger.claim("w"), None):
        ledger.finish(claim.job.id, claim.token, Outcome(result={}))
    return accounts


def test_an_undamaged_ledger_passes(ledger: Ledger, both: tuple[redis.Redis, redis.Redis]) -> None:
    accounts = served(ledger, 5)
    assert audit(accounts, [], snapshot(*both, shards=1, keys_lead_to={}), max_attempts=3) == []


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda client, job: client.delete(keys.job(0, job)), "lost: "),
        (lambda client, job: client.hset(keys.job(0, job), "status", "running"), "unended: "),
        (lambda client, job: client.set(keys.image(0, job), "bytes"), "image: "),
        (lambda client, job: client.set("elsewhere", picture()), "image: elsewhere"),  # noqa: ARG005
        (lambda client, job: client.zadd(keys.leases(0), {job: 1}), "leftover: "),
        (lambda client, job: client.zrem(f"{keys.prefix(0)}index:succeeded:detect:default", job), "index: "),
    ],
    ids=["job", "status", "image", "copy", "lease", "index"],
)
def test_damage_done_to_a_real_ledger_is_found(
    ledger: Ledger, both: tuple[redis.Redis, redis.Redis], damage: Damage, found: str
) -> None:
    accounts = served(ledger, 3)
    damage(both[0], next(iter(accounts[1].ids)))
    assert any(
        line.startswith(found)
        for line in audit(accounts, [], snapshot(*both, shards=1, keys_lead_to={}), max_attempts=3)
    )


def test_a_key_without_a_ttl_and_a_key_in_the_wrong_store_are_found(
    ledger: Ledger, both: tuple[redis.Redis, redis.Redis]
) -> None:
    (account,) = served(ledger, 1)
    job = keys.job(0, next(iter(account.ids)))
    assert (endless(both[0]), strange(both[1])) == ([], [])
    both[0].persist(job)
    both[1].set("image", b"bytes")
    assert (endless(both[0]), strange(both[1])) == ([job], ["image"])
