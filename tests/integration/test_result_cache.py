"""The result cache against real servers: it helps if it is on, never fails a job, and can be erased."""

import base64
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from shared.errors import UnavailableError
from shared.jobs import new_job_id
from shared.ledger import keys
from shared.ledger.connection import connect
from shared.ledger.jobs.result_cache import Results
from shared.ledger.jobs.store import Outcome
from shared.ledger.stores import open_stores
from tests.integration.servers import Server
from tests.integration.test_ledger import accept
from tests.pictures import PINK, encoded, one_face
from tests.stacks import FAKE, serving
from tools.stack import Stack

DIGEST = "00000005" + "ab" * 28
HOUR = timedelta(hours=1)


@pytest.fixture
def client(ledger_server: Server) -> Iterator[redis.Redis]:
    with connect(ledger_server.url) as client:
        yield client


def test_a_result_is_found_by_its_digest_until_it_expires(client: redis.Redis) -> None:
    results = Results(client, shards=1)
    assert results.find(DIGEST) is None
    results.keep(DIGEST, {"faces": [1.5]}, good_for=timedelta(seconds=0.3))
    assert results.find(DIGEST) == {"faces": [1.5]}
    assert results.find("1" + DIGEST[1:]) is None
    time.sleep(0.4)
    assert results.find(DIGEST) is None


def test_a_result_is_in_the_slot_that_its_digest_selects(client: redis.Redis) -> None:
    Results(client, shards=3).keep(DIGEST, {}, good_for=HOUR)
    assert list(client.scan_iter("*")) == [f"vultus:{{2}}:result:{DIGEST}".encode()]


@pytest.mark.parametrize("kept", [b"{", b"[1]", b"\xff", b""])
def test_an_unreadable_entry_is_a_miss(client: redis.Redis, kept: bytes) -> None:
    client.set(keys.result(0, DIGEST), kept)
    assert Results(client, shards=1).find(DIGEST) is None


def test_a_key_of_another_type_is_an_error_that_the_worker_handles(client: redis.Redis) -> None:
    client.lpush(keys.result(0, DIGEST), "x")
    with pytest.raises(UnavailableError):
        Results(client, shards=1).find(DIGEST)


def test_a_full_store_refuses_writes_and_still_reads(client: redis.Redis, ledger_server: Server) -> None:
    results = Results(client, shards=1)
    results.keep(DIGEST, {"a": 1}, good_for=HOUR)
    with ledger_server.store.client() as server:
        server.config_set("maxmemory", "1mb")
    with pytest.raises(UnavailableError):
        results.keep(DIGEST, {"a": "x" * 2_000_000}, good_for=HOUR)
    assert results.find(DIGEST) == {"a": 1}


def test_erasing_a_job_erases_its_cached_result_on_any_shard(ledger_server: Server) -> None:
    with connect(ledger_server.url) as client:
        stores = open_stores(client, shards=3, lease=timedelta(seconds=5))
        job_id = accept(stores.jobs, job_id=new_job_id(shard=1, now_ms=1))
        claim = stores.jobs.claim("w")
        assert claim is not None
        stores.results.keep(DIGEST, {"a": 1}, good_for=HOUR)
        stores.jobs.finish(job_id, claim.token, Outcome(result={"a": 1}, cached_as=DIGEST))
        stores.results.forget(job_id)
        assert stores.results.find(DIGEST) is None
        stores.results.forget(job_id)
        stores.results.forget(new_job_id(shard=0, now_ms=1))


@pytest.fixture
def caching(tmp_path: Path) -> Iterator[Stack]:
    with serving(tmp_path, {**FAKE, "VULTUS_RESULT_CACHE_TTL": "60"}) as stack:
        yield stack


def job(stack: Stack, image: bytes, **params: Any) -> dict[str, Any]:
    answer = requests.post(
        f"{stack.url}/v1/jobs",
        data={"operation": "embed", **({"params": str(params).replace("'", '"')} if params else {})},
        files={"image": image},
        headers={"Prefer": "wait=20"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    done: dict[str, Any] = answer.json()
    return done


def test_a_repeated_image_is_answered_from_the_cache_and_marked(caching: Stack) -> None:
    image = encoded(one_face())
    first, again = job(caching, image), job(caching, image)
    assert (first["provenance"]["cached"], again["provenance"]["cached"]) == (False, True)
    assert again["result"] == first["result"]
    assert again["metrics"]["detect_ms"] is None
    assert job(caching, encoded(one_face(PINK)))["provenance"]["cached"] is False
    assert job(caching, image, max_faces=1)["provenance"]["cached"] is False
    with caching.ledger.client() as client:
        kept = keys.result(0, client.hget(keys.job(0, again["id"]), "cached_as").decode())
        assert 0 < client.ttl(kept) <= 60
    Results(caching.ledger.client(), shards=1).forget(again["id"])
    assert job(caching, image)["provenance"]["cached"] is False


def test_a_failure_is_never_cached(caching: Stack) -> None:
    body = {
        "operation": "verify",
        "image": {"base64": base64.b64encode(encoded(one_face())).decode()},
        "reference": {"embedding": {"vector": [1.0] * 512, "contract": "of other models"}},
    }
    for _ in range(2):
        answer = requests.post(f"{caching.url}/v1/jobs", json=body, headers={"Prefer": "wait=20"}, timeout=30)
        failed = answer.json()
        assert (failed["error"]["code"], failed["provenance"]["cached"]) == ("embedding_contract_mismatch", False)
    with caching.ledger.client() as client:
        assert client.keys("*result*") == []


def test_a_cache_without_permission_fails_no_job(caching: Stack) -> None:
    allowed = ["{[^0]*", "{0}:[^r]*", "{0}:reference:*"]  # every key of the ledger except `result:`
    with caching.ledger.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "resetkeys", *(f"~vultus:{name}" for name in allowed))
    done = job(caching, encoded(one_face()))
    assert (done["status"], done["provenance"]["cached"]) == ("succeeded", False)
