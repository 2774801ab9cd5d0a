"""The ledger over a cluster of three primaries with six shards; other modules cover a single shard."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from redis.crc import key_slot

from shared.errors import ErrorCode, SettingsError, UnavailableError
from shared.jobs import NewJob, Status, new_batch_id, new_job_id, shard_of
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.connection import connect, verify_durability
from shared.ledger.jobs.listing import JobFilter
from shared.ledger.jobs.store import Ledger, Outcome
from shared.ledger.presence import Presence, WorkerInfo
from shared.ledger.stores import Stores, open_stores
from shared.operations import Operation
from tests.integration.breaking import breakable, picture, until
from tests.integration.clusters import NODES, SLOTS, Cluster, Node
from tests.integration.sentinels import patient
from tests.integration.servers import Server
from tests.integration.test_ledger import accept
from tools.stack import Stack

SHARDS = 6
LEASE = timedelta(seconds=0.3)
HOUR = timedelta(hours=1)


@pytest.fixture
def stores(cluster: Cluster) -> Iterator[Stores]:
    with connect(cluster.url) as client:
        yield open_stores(client, shards=SHARDS, lease=LEASE)


def new_id(shard: int) -> str:
    return new_job_id(shard=shard, now_ms=time.time_ns() // 1_000_000)


def one_on_each(ledger: Ledger) -> list[str]:
    return [accept(ledger, job_id=new_id(shard)) for shard in range(SHARDS)]


def away(cluster: Cluster) -> tuple[Node, set[int]]:
    """The node to kill, and its shards: not the node with the worker registry."""
    roll = key_slot(keys.WORKERS_SEEN.encode()) * NODES // SLOTS
    node = cluster.nodes[(roll + 1) % NODES]
    return node, {shard for shard in range(SHARDS) if cluster.home(shard) is node}


def test_six_shards_lie_on_three_nodes(cluster: Cluster) -> None:
    assert len({cluster.home(shard).store.port for shard in range(SHARDS)}) == NODES


def test_jobs_of_all_shards_are_claimed_finished_and_listed(stores: Stores) -> None:
    jobs = one_on_each(stores.jobs)
    assert stores.jobs.depth() == (SHARDS, 0)
    page = stores.listing.page(JobFilter(), limit=4)
    rest = stores.listing.page(JobFilter(), limit=4, after=page.next)
    assert [job.id for job in [*page.jobs, *rest.jobs]] == jobs[::-1]
    with ThreadPoolExecutor(8) as pool:
        claims = [claim for claim in pool.map(lambda n: stores.jobs.claim(f"w{n}"), range(12)) if claim]
    assert {claim.job.id for claim in claims} == set(jobs)
    assert all(stores.jobs.finish(claim.job.id, claim.token, Outcome(result={})) for claim in claims)
    assert stores.jobs.statuses(jobs) == [Status.SUCCEEDED] * SHARDS


def test_leftovers_of_dead_workers_are_repaired_on_every_shard(stores: Stores) -> None:
    jobs = one_on_each(stores.jobs)
    while stores.jobs.claim("w"):
        pass
    time.sleep(LEASE.total_seconds() + 0.1)
    healed = stores.jobs.reap(max_attempts=3)
    assert set(healed.requeued) == set(jobs)
    assert (healed.queued, healed.away) == (SHARDS, None)


def test_a_refused_batch_leaves_no_image_on_any_node(stores: Stores, cluster: Cluster) -> None:
    batch_id = new_batch_id(shard=3, now_ms=1)
    jobs = [NewJob(id=new_id(3), operation=Operation.DETECT, params={}, image=b"x", result_ttl=HOUR) for _ in range(3)]
    with pytest.raises(UnavailableError):
        stores.batches.accept(batch_id, jobs, metadata={}, limits=Limits(0), result_ttl=HOUR)
    for node in cluster.nodes:
        with node.store.client() as client:
            assert client.dbsize() == 0


def test_workers_are_listed_from_whichever_node_has_the_registry(cluster: Cluster) -> None:
    with connect(cluster.url) as client:
        info = WorkerInfo("w", "p", "c", 512, "CPU", 1)
        presence = Presence(client)
        presence.announce(info, good_for=timedelta(seconds=9))
        assert presence.alive() == [info]
        presence.leave("w")
        assert presence.alive() == []


def test_every_primary_must_meet_the_durability_promise(cluster: Cluster) -> None:
    lax = cluster.nodes[2].store
    with connect(cluster.url) as client, lax.client() as server:
        verify_durability(client, "always")
        server.config_set("appendfsync", "everysec")
        try:
            with pytest.raises(SettingsError, match=rf"127\.0\.0\.1:{lax.port} appendfsync is everysec"):
                verify_durability(client, "always")
            verify_durability(client, "everysec")
        finally:
            server.config_set("appendfsync", "always")


def test_a_url_of_another_kind_of_store_is_refused(cluster: Cluster, broker_server: Server) -> None:
    with pytest.raises(SettingsError, match="not a cluster node"):
        connect(type(cluster.url)(broker_server.store.url.replace("redis://", "redis+cluster://").removesuffix("/0")))
    with (
        connect(type(cluster.url)(cluster.nodes[0].store.url)) as client,
        pytest.raises(SettingsError, match=r"write redis\+cluster://"),
    ):
        verify_durability(client, "always")


def test_a_wrong_password_is_distinguished_from_an_unreachable_node(cluster: Cluster) -> None:
    wrong = cluster.url.get_secret_value().replace(cluster.password, "guess")
    with pytest.raises(SettingsError, match="user or the password"):
        connect(type(cluster.url)(wrong))


def test_shards_of_a_dead_primary_return_whole_while_others_continue(stores: Stores, cluster: Cluster) -> None:
    jobs = one_on_each(stores.jobs)
    node, lost = away(cluster)
    assert 0 < len(lost) < SHARDS
    node.kill()
    for shard in range(SHARDS):
        if shard in lost:
            with pytest.raises(UnavailableError) as refused:
                accept(stores.jobs, job_id=new_id(shard))
            assert refused.value.code is ErrorCode.STORE_UNAVAILABLE
        else:
            jobs.append(accept(stores.jobs, job_id=new_id(shard)))
    there = {job_id for job_id in jobs if shard_of(job_id) not in lost}
    claims = [stores.jobs.claim("w") for _ in there]
    assert {claim.job.id for claim in claims if claim} == there
    with pytest.raises(UnavailableError):
        stores.jobs.claim("w")  # nothing more is available elsewhere
    time.sleep(LEASE.total_seconds() + 0.1)
    healed = stores.jobs.reap(max_attempts=3)
    assert set(healed.requeued) == there
    assert healed.away is not None
    assert stores.fetches.take(most=9, hold=HOUR) == []
    with pytest.raises(UnavailableError):
        stores.listing.page(JobFilter(), limit=50)  # a list with gaps would be wrong
    with connect(cluster.url) as late:  # new clients find their way too
        assert late.exists(keys.queue(min(set(range(SHARDS)) - lost)))
    node.start()
    assert set(jobs) == {claim.job.id for _ in jobs if (claim := stores.jobs.claim("w"))}


def test_a_replica_takes_over_its_primarys_shards_and_the_old_one_follows(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, replicas=True)
    try:
        cluster.start()
        for node in cluster.nodes:
            patient(node.copied)
        with connect(cluster.url) as client:
            ledger = Ledger(client, shards=SHARDS, lease=HOUR)
            jobs = one_on_each(ledger)
            for node in cluster.nodes:
                patient(node.copied)
            gone = cluster.home(0)
            gone.kill()
            patient(lambda: takes(ledger))
            assert {claim.job.id for _ in range(SHARDS + 1) if (claim := ledger.claim("w"))} > set(jobs)
            gone.start()
            with gone.store.client() as old:
                assert old.info("replication")["role"] == "slave"
            assert ledger.statuses(jobs) == [Status.RUNNING] * SHARDS
    finally:
        cluster.stop()


def takes(ledger: Ledger) -> bool:
    """Whether shard 0 accepts a job."""
    try:
        accept(ledger)
    except UnavailableError:
        return False
    return True


@pytest.fixture
def service(cluster: Cluster, tmp_path: Path) -> Iterator[Stack]:
    """A gateway and a worker over the cluster."""
    settings = {"VULTUS_SHARDS": str(SHARDS)}
    url = cluster.url.get_secret_value()
    with breakable(tmp_path, settings=settings, ledger_url=url, worker="worker.app") as stack:
        yield stack


def submit(stack: Stack, **headers: str) -> requests.Response:
    return requests.post(
        f"{stack.url}/v1/jobs",
        data={"operation": "detect"},
        files={"image": picture()},
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        timeout=40,
    )


def status(stack: Stack, job_id: str) -> str:
    answer = requests.get(f"{stack.url}/v1/jobs/{job_id}", timeout=30)
    return str(answer.json()["status"]) if answer.ok else str(answer.status_code)


def test_a_gateway_and_a_worker_do_everything_over_a_cluster(service: Stack) -> None:
    jobs = [submit(service).json()["id"] for _ in range(90)]  # random; fewer might miss one of the six
    assert {shard_of(job_id) for job_id in jobs} == set(range(SHARDS))
    until(lambda: all(status(service, job_id) == "succeeded" for job_id in jobs))
    begin = time.monotonic()
    done = submit(service, Prefer="wait=20")
    assert (done.status_code, done.json()["status"]) == (200, "succeeded")
    assert time.monotonic() - begin < 1.4  # notified, not read again: that happens every 1.5 s
    first, again = (submit(service, Idempotency_Key="once").json()["id"] for _ in range(2))
    assert first == again
    stream = requests.get(f"{service.url}/v1/jobs/{first}/events", timeout=20).text
    assert "succeeded" in stream
    listed = requests.get(f"{service.url}/v1/jobs?limit=100", timeout=20).json()
    assert {job["id"] for job in listed["jobs"]} == {*jobs, done.json()["id"], first}
    assert requests.delete(f"{service.url}/v1/jobs/{first}", timeout=20).status_code == 204
    assert status(service, first) == "404"
    batch = requests.post(
        f"{service.url}/v1/batches",
        data={"operation": "detect"},
        files=[("images", ("a.png", picture())), ("images", ("b.png", picture()))],
        timeout=20,
    )
    assert batch.status_code in {200, 202}, batch.text  # 200 if the worker was faster than the response
    where = f"{service.url}/v1/batches/{batch.json()['id']}"
    until(lambda: requests.get(where, timeout=20).json()["status"] == "completed")


def test_the_service_continues_without_one_primary_and_loses_nothing(service: Stack, cluster: Cluster) -> None:
    accepted = [submit(service).json()["id"] for _ in range(12)]
    until(lambda: all(status(service, job_id) == "succeeded" for job_id in accepted))
    node, lost = away(cluster)
    node.kill()
    answers = [submit(service) for _ in range(24)]
    taken = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code != 202]
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(503, "store_unavailable")}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert taken
    assert {shard_of(job_id) for job_id in taken}.isdisjoint(lost)
    until(lambda: all(status(service, job_id) == "succeeded" for job_id in taken))
    node.start()
    later = [submit(service).json()["id"] for _ in range(12)]
    until(lambda: all(status(service, job_id) == "succeeded" for job_id in [*accepted, *taken, *later]))
    ended = requests.get(f"{service.url}/v1/jobs?limit=100", timeout=20).json()["jobs"]
    assert {job["id"] for job in ended} == {*accepted, *taken, *later}
    assert json.dumps(ended).count('"attempts": 1,') == len(ended)
