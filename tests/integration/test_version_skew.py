"""Workers and gateways of two versions side by side: each leaves to the other what it does not know."""

from pathlib import Path

from shared.jobs import Status
from shared.ledger import keys
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger
from tests.integration.breaking import breakable, history, job_of, until
from tests.integration.servers import Server
from tests.integration.test_faults import readable, status
from tests.integration.test_ledger import accept
from tests.integration.test_poison import submit


def rewrite(server: Server, job_id: str, **fields: str) -> None:
    """Rewrite the record as another version would have written it."""
    with server.store.client() as client:
        for name, value in fields.items():
            client.hset(keys.job(0, job_id), name, value)


def test_a_worker_skips_a_job_of_an_unknown_operation(ledger: Ledger, ledger_server: Server) -> None:
    unknown, known = accept(ledger), accept(ledger)
    rewrite(ledger_server, unknown, operation="estimate_age")
    claim = ledger.claim("older")
    assert claim is not None
    assert claim.job.id == known
    assert ledger.claim("older") is None
    with connect(ledger_server.url) as client:
        assert client.hmget(keys.job(0, unknown), "status", "attempts") == [b"queued", b"0"]
        assert client.zscore(keys.queue(0), unknown) is not None


def test_a_job_that_waits_for_a_newer_worker_still_expires(ledger: Ledger, ledger_server: Server) -> None:
    unknown = accept(ledger)
    rewrite(ledger_server, unknown, operation="estimate_age", start_by="1.0")
    with connect(ledger_server.url) as client:
        client.zadd(f"{keys.prefix(0)}deadlines", {unknown: 1.0})
        assert ledger.claim("older") is None
        ledger.reap(max_attempts=3)
        assert client.hget(keys.job(0, unknown), "status") == b"expired"


def test_fields_from_a_newer_version_are_ignored(ledger: Ledger, ledger_server: Server) -> None:
    job_id = accept(ledger)
    rewrite(ledger_server, job_id, colour="blue", provenance='{"model_pack": "p", "colour": "blue"}')
    with connect(ledger_server.url) as client:
        client.hdel(keys.job(0, job_id), "provenance")
    claim = ledger.claim("older")
    assert claim is not None
    assert claim.job.id == job_id


def test_an_unknown_failure_code_becomes_internal_error_with_its_detail(ledger: Ledger, ledger_server: Server) -> None:
    job_id = accept(ledger)
    rewrite(
        ledger_server,
        job_id,
        status="failed",
        error='{"code": "lens_cap_on", "detail": "The lens cap is on.", "retryable": false, "hint": "newer"}',
    )
    job = ledger.read(job_id)
    assert job is not None
    assert job.error is not None
    assert (job.status, job.error.code.value, job.error.detail) == (
        Status.FAILED,
        "internal_error",
        "The lens cap is on.",
    )


def test_a_worker_fails_unreadable_jobs_and_leaves_unknown_ones(tmp_path: Path) -> None:
    log: list[str] = []
    with breakable(tmp_path, log=log) as stack, stack.ledger.client() as client:
        stack.stores[1].signal(9)
        stack.workers[0].signal(19)
        params, operation, ordinary = (submit(stack) for _ in range(3))
        client.hset(keys.job(0, params), "params", '{"colour": "blue"}')
        client.hset(keys.job(0, operation), "operation", "estimate_age")
        stack.workers[0].signal(18)
        stack.stores[1].wait(5)
        stack.stores[1].start()
        until(lambda: status(stack, ordinary) == "succeeded")
        until(lambda: status(stack, params) == "failed")
        assert job_of(stack, params)["error"]["code"] == "invalid_request"
        assert history(stack, operation) == ["queued"]
        readable(log)
