"""The queue of jobs that wait for images: hosts and tenants share a gateway's slots, however long the queue is."""

import time
from collections.abc import Sequence
from datetime import timedelta

import pytest

from shared.jobs import NewJob, new_job_id
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.jobs.fetches import Fetch
from shared.ledger.jobs.store import Ledger
from shared.ledger.stores import Stores
from shared.operations import Operation
from shared.tenants import DEFAULT
from tests.integration.servers import Server

HOLD = timedelta(hours=1)
SLOW, QUICK, THIRD = "https://slow.example", "https://quick.example", "https://third.example"


def accepted(ledger: Ledger, host: str | None, *, reference: str | None = None, tenant: str = DEFAULT) -> str:
    job = NewJob(
        id=new_job_id(shard=0, now_ms=time.time_ns() // 1_000_000),
        operation=Operation.DETECT,
        params={},
        result_ttl=timedelta(hours=1),
        image=b"" if host else b"image",
        image_url=host and f"{host}/1.jpg",
        reference_url=reference and f"{reference}/2.jpg",
        tenant=tenant,
    )
    ledger.accept(job, limits=Limits(10_000))
    return job.id


def taken(stores: Stores, *, of: int, held: Sequence[Fetch] = ()) -> list[Fetch]:
    return stores.fetches.take(most=of - len(held), hold=HOLD, held=held)


def origins(fetches: Sequence[Fetch]) -> list[str]:
    return [(fetch.image_url or fetch.reference_url or "").rpartition("/")[0] for fetch in fetches]


def test_a_host_has_no_more_slots_than_it_leaves_free(stores: Stores) -> None:
    slow = [accepted(stores.jobs, SLOW, tenant=f"t{number}") for number in range(20)]
    held = taken(stores, of=16)
    assert [fetch.job_id for fetch in held] == slow[:8]  # the longest-waiting first
    assert taken(stores, of=16, held=held) == []
    for number in range(20):
        accepted(stores.jobs, QUICK, tenant=f"u{number}")
    held += (quick := taken(stores, of=16, held=held))
    assert origins(quick) == [QUICK] * 4
    accepted(stores.jobs, THIRD, tenant="v")
    assert origins(taken(stores, of=16, held=held)) == [THIRD]
    free = taken(stores, of=16, held=held[2:8])  # two are done, and the rest of the queue is unchanged
    assert [fetch.job_id for fetch in free[:2]] == slow[8:10]
    assert origins(free[2:]) == [QUICK] * len(free[2:])


def test_a_tenant_leaves_a_quarter_of_the_slots_to_others(stores: Stores) -> None:
    for number in range(20):
        accepted(stores.jobs, f"https://{number}.example", tenant="a")
    held = taken(stores, of=16)
    assert len(held) == 12
    late = accepted(stores.jobs, QUICK, tenant="b")
    assert [fetch.job_id for fetch in taken(stores, of=16, held=held)] == [late]


def test_a_tenants_slow_host_leaves_slots_to_its_other_hosts(stores: Stores) -> None:
    for _ in range(20):
        accepted(stores.jobs, SLOW)
    held = taken(stores, of=16)
    assert origins(held) == [SLOW] * 8
    quick = [accepted(stores.jobs, QUICK) for _ in range(20)]
    assert [fetch.job_id for fetch in taken(stores, of=16, held=held)] == quick[:4]


def test_a_reference_counts_as_an_image_does(stores: Stores) -> None:
    for number in range(4):
        accepted(stores.jobs, None, reference=SLOW, tenant=f"t{number}")
    held = taken(stores, of=4)
    assert origins(held) == [SLOW] * 2
    accepted(stores.jobs, QUICK, reference=SLOW, tenant="x")
    assert taken(stores, of=4, held=held) == []
    accepted(stores.jobs, QUICK, tenant="x")
    assert len(taken(stores, of=4, held=held)) == 1


def test_any_host_may_use_a_single_slot(stores: Stores) -> None:
    accepted(stores.jobs, SLOW)
    assert len(taken(stores, of=1)) == 1


@pytest.mark.parametrize("ledger_server", ["server"], indirect=True)
def test_nothing_waits_behind_a_long_queue_for_one_host(stores: Stores, ledger_server: Server) -> None:
    first = accepted(stores.jobs, SLOW)
    alike = first[:-5] + ("1" if first[-5] == "0" else "0")  # not the id of the first, whatever that is
    with connect(ledger_server.url) as store:  # thousands like it
        job, urls = store.hgetall(keys.job(0, first)), store.hgetall(keys.urls(0, first))
        with store.pipeline(transaction=False) as many:
            for number in range(5000):
                name = f"{alike}{number:04x}"
                many.hset(keys.job(0, name), mapping={**job, b"id": name.encode()})
                many.hset(keys.urls(0, name), mapping=urls)
                many.zadd(keys.fetch(0), {name: 1.0 + number})
            many.execute()
        held = taken(stores, of=16)
        assert origins(held) == [SLOW] * 8
        late = accepted(stores.jobs, QUICK, tenant="b")
        assert [fetch.job_id for fetch in taken(stores, of=16, held=held)] == [late]
        # Those that keep their places are enough to continue with.
        assert origins(taken(stores, of=16)) == [SLOW] * 8
        assert store.zcard(keys.fetch(0)) == 5002
