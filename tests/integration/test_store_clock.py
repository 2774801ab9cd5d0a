"""The clock of the ledger's server jumps: work continues, dead workers' jobs come back, and no result is duplicated.

Setting a clock back by an hour is the same as moving every stored time forward by an hour. The tests do the latter,
which needs no permission to set a clock.
"""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import cast

import pytest
import redis

from shared.jobs import NewJob, Priority, Status, new_job_id
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger, Outcome
from shared.ledger.presence import Presence, WorkerInfo
from shared.ledger.stores import Stores
from shared.liveness_sessions import NewSession, SessionStatus, Step, new_session_id
from shared.operations import Operation
from shared.tenants import DEFAULT
from tests.integration.servers import Server
from tests.integration.test_deliveries import planned

HOUR = 3600.0
LEASE = timedelta(seconds=10)
TIMES = ("created_at", "started_at", "start_by", "ends_at", "step_ends_at", "line", "began", "next_at", "open_until")
WORKER = WorkerInfo("w", "fake", "contract", 512, "CPU", 1)


@pytest.fixture
def ledger(ledger_server: Server) -> Iterator[Ledger]:
    """A ledger whose leases outlast a slow test: only a repaired score lets them expire."""
    client = connect(ledger_server.url)
    yield Ledger(client, shards=1, lease=LEASE)
    client.close()


@pytest.fixture
def store(ledger_server: Server) -> Iterator[redis.Redis]:
    client = connect(ledger_server.url)
    yield client
    client.close()


def set_clock(store: redis.Redis, *, by: float) -> None:
    """Shift every stored time in the opposite direction."""
    for key in list(store.scan_iter("vultus:*")):
        kind = store.type(key)
        if kind == b"zset":
            for member in cast("list[bytes]", store.zrange(key, 0, -1)):
                store.zincrby(key, -by, member)
        elif kind == b"hash":
            for name in TIMES:
                value = store.hget(key, name)
                if value is not None:
                    store.hset(key, name, f"{float(value) - by:.6f}")


def accept(
    ledger: Ledger, *, tenant: str = DEFAULT, start_within: timedelta | None = None, urls: dict[str, str] | None = None
) -> str:
    job = NewJob(
        id=new_job_id(shard=0, now_ms=time.time_ns() // 1_000_000),
        operation=Operation.DETECT,
        params={},
        image=b"" if urls else b"image",
        image_url=(urls or {}).get("image"),
        priority=Priority.NORMAL,
        tenant=tenant,
        start_within=start_within,
        result_ttl=timedelta(hours=1),
    )
    ledger.accept(job, limits=Limits(1000, tenant=tenant))
    return job.id


def lease_left(store: redis.Redis, job_id: str) -> float:
    score = store.zscore(keys.leases(0), job_id)
    assert score is not None
    seconds, microseconds = store.time()
    return float(score) - seconds - microseconds / 1e6


def test_a_clock_set_back_leaves_a_dead_workers_job_one_lease(ledger: Ledger, store: redis.Redis) -> None:
    job_id = accept(ledger)
    dead = ledger.claim("dead")
    assert dead is not None
    set_clock(store, by=-HOUR)
    assert lease_left(store, job_id) > HOUR - 60
    ledger.reap(max_attempts=3)
    assert lease_left(store, job_id) <= LEASE.total_seconds()
    set_clock(store, by=LEASE.total_seconds())
    assert ledger.reap(max_attempts=3).requeued == (job_id,)
    assert not ledger.finish(job_id, dead.token, Outcome(result={"by": "dead"}))


def test_a_clock_set_back_takes_no_job_from_a_live_worker(ledger: Ledger, store: redis.Redis) -> None:
    job_id = accept(ledger)
    claim = ledger.claim("w")
    assert claim is not None
    set_clock(store, by=-HOUR)
    assert ledger.reap(max_attempts=3).requeued == ()
    assert ledger.beat(job_id, claim.token)
    assert ledger.finish(job_id, claim.token, Outcome(result={"by": "w"}))


def test_a_sweep_with_a_shorter_lease_leaves_longer_ones_alone(
    ledger: Ledger, ledger_server: Server, store: redis.Redis
) -> None:
    job_id = accept(ledger)
    assert ledger.claim("w")
    client = connect(ledger_server.url)
    Ledger(client, shards=1, lease=timedelta(seconds=1)).reap(max_attempts=3)
    client.close()
    assert lease_left(store, job_id) > 5


def test_a_clock_set_forward_fences_the_first_worker_and_gives_one_result(ledger: Ledger, store: redis.Redis) -> None:
    job_id = accept(ledger)
    first = ledger.claim("first")
    assert first is not None
    set_clock(store, by=HOUR)
    assert ledger.reap(max_attempts=3).requeued == (job_id,)
    second = ledger.claim("second")
    assert second is not None
    assert not ledger.beat(job_id, first.token)
    assert not ledger.finish(job_id, first.token, Outcome(result={"by": "first"}))
    assert ledger.finish(job_id, second.token, Outcome(result={"by": "second"}))
    assert not ledger.finish(job_id, second.token, Outcome(result={"by": "second, again"}))
    job = ledger.read(job_id)
    assert job is not None
    assert (job.status, job.result) == (Status.SUCCEEDED, {"by": "second"})


def test_queued_jobs_keep_their_order_after_a_clock_set_back(ledger: Ledger, store: redis.Redis) -> None:
    before = [accept(ledger) for _ in range(20)]
    set_clock(store, by=-HOUR)
    ledger.reap(max_attempts=3)
    after = accept(ledger)
    claims = [ledger.claim("w") for _ in range(21)]
    assert [claim.job.id for claim in claims if claim] == [*before, after]


def test_a_tenant_served_before_a_clock_set_back_gets_its_turns(ledger: Ledger, store: redis.Redis) -> None:
    for _ in range(10):
        accept(ledger, tenant="before")
    assert ledger.claim("w")
    set_clock(store, by=-HOUR)
    ledger.reap(max_attempts=3)
    for _ in range(10):
        accept(ledger, tenant="after")
    claims = [ledger.claim("w") for _ in range(8)]
    tenants = [claim.job.tenant for claim in claims if claim]
    assert 3 <= tenants.count("before") <= 5


def test_a_deadline_moves_with_a_clock_set_back(ledger: Ledger, store: redis.Redis) -> None:
    job_id = accept(ledger, start_within=timedelta(minutes=5))
    set_clock(store, by=-HOUR)
    assert ledger.reap(max_attempts=3).expired == ()
    set_clock(store, by=301)
    assert ledger.reap(max_attempts=3).expired == (job_id,)


def test_a_clock_set_back_twice_moves_a_deadline_once_each(ledger: Ledger, store: redis.Redis) -> None:
    job_id = accept(ledger, start_within=timedelta(minutes=5))
    for _ in range(2):
        set_clock(store, by=-HOUR)
        assert ledger.reap(max_attempts=3).expired == ()
    set_clock(store, by=290)
    assert ledger.reap(max_attempts=3).expired == ()
    set_clock(store, by=11)
    assert ledger.reap(max_attempts=3).expired == (job_id,)


def test_a_held_fetch_is_offered_again_after_a_clock_set_back(stores: Stores, store: redis.Redis) -> None:
    job_id = accept(stores.jobs, urls={"image": "https://images.test/a"})
    hold = timedelta(seconds=30)
    assert [fetch.job_id for fetch in stores.fetches.take(most=5, hold=hold)] == [job_id]
    set_clock(store, by=-HOUR)
    assert stores.fetches.take(most=5, hold=hold) == []
    set_clock(store, by=30)
    assert [fetch.job_id for fetch in stores.fetches.take(most=5, hold=hold)] == [job_id]


def test_a_session_from_before_a_clock_set_back_ends(stores: Stores, store: redis.Redis) -> None:
    session = NewSession(
        id=new_session_id(shard=0, now_ms=1),
        steps=(Step.LOOK_STRAIGHT,),
        length=timedelta(minutes=2),
        step_length=timedelta(seconds=20),
        most_frames=10,
        result_ttl=timedelta(hours=1),
        memory='"a-face"',
    )
    stores.sessions.open(session)
    set_clock(store, by=-HOUR)
    stores.jobs.reap(max_attempts=3)
    ended = stores.sessions.read(session.id)
    assert ended is not None
    assert (ended.status, ended.memory) == (SessionStatus.EXPIRED, "")


def test_a_worker_that_died_before_a_clock_set_back_is_not_alive(store: redis.Redis) -> None:
    presence = Presence(store)
    presence.announce(WORKER, good_for=timedelta(seconds=15))
    assert presence.alive() == [WORKER]
    set_clock(store, by=-HOUR)
    assert presence.alive() == []
    presence.announce(WORKER, good_for=timedelta(seconds=15))
    assert presence.alive() == [WORKER]


def test_deliveries_of_a_dead_courier_are_sent_after_a_clock_set_back(stores: Stores, store: redis.Redis) -> None:
    deliveries, hold = stores.deliveries, timedelta(seconds=10)
    planned(stores, "d")
    (first,) = deliveries.take(most=5, hold=hold, per_destination=1)
    set_clock(store, by=-HOUR)
    planned(stores, "d")
    assert deliveries.take(most=5, hold=hold, per_destination=1) == []
    set_clock(store, by=10)
    assert first.delivery.id in {each.delivery.id for each in deliveries.take(most=5, hold=hold, per_destination=5)}
