"""The audit log: every action of an authenticated caller is recorded, even through an outage of the store."""

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import pytest

from api.auth.audit_log import AuditLog
from shared.errors import ErrorCode, UnavailableError
from shared.ledger.tenants.audit import Audit, Entry
from shared.tenants import Scope
from tests.unit.api.auth.test_authenticator import bearer
from tests.unit.api.conftest import Gateway, MakeGateway
from tests.unit.api.pictures import JPEG
from tests.unit.api.results import faces


@pytest.fixture
def closed(make_gateway: MakeGateway) -> Gateway:
    gateway = make_gateway(auth="keys")
    gateway.worker.script = lambda _: faces(1)
    return gateway


def flush(gateway: Gateway) -> None:
    gateway._run(gateway.app.state.audit.flush())


def written(gateway: Gateway) -> list[Entry]:
    """The log of the tenant `acme`, the oldest entry first."""
    flush(gateway)
    return gateway.stores.audit.page("acme", limit=100)[::-1]


def submit(gateway: Gateway, key: str, **headers: str) -> Any:
    return gateway.post(
        "/v1/jobs", headers=bearer(key) | headers, files={"image": JPEG}, data={"operation": "detect", "metadata": "{}"}
    )


def test_a_change_is_recorded_with_its_key_and_subject(closed: Gateway) -> None:
    key = closed.give_key("acme")
    job_id = submit(closed, key).json()["id"]
    closed.request("DELETE", f"/v1/jobs/{job_id}", headers=bearer(key))
    found = [(entry.tenant, entry.key, entry.action, entry.subject, entry.status) for entry in written(closed)]
    assert found == [
        ("acme", key[3:15], "submit_job", job_id, 202),
        ("acme", key[3:15], "delete_job", job_id, 204),
    ]


def test_only_reads_that_disclose_a_result_are_recorded(closed: Gateway) -> None:
    key = closed.give_key("acme")
    ended = submit(closed, key, Prefer="wait=30").json()["id"]
    closed.worker.script = None
    waiting = submit(closed, key).json()["id"]
    for job_id in (ended, waiting):
        closed.get(f"/v1/jobs/{job_id}", headers=bearer(key))
    closed.get("/v1/jobs", headers=bearer(key))
    assert [entry.subject for entry in written(closed) if entry.action == "read_job"] == [ended]


def test_the_job_of_a_classic_call_is_recorded(closed: Gateway) -> None:
    key = closed.give_key("acme")
    closed.post("/detect", headers=bearer(key), files={"file": JPEG})
    (job_id,) = closed.store.ids("job")
    assert [(entry.action, entry.subject) for entry in written(closed)] == [("detect", job_id)]


def test_a_missing_scope_is_recorded_but_an_invalid_request_is_not(closed: Gateway) -> None:
    key = closed.give_key("acme", Scope.JOBS_READ)
    submit(closed, key)
    closed.get("/v1/jobs?limit=x", headers=bearer(key))
    closed.post("/v1/jobs")
    assert [(entry.action, entry.status) for entry in written(closed)] == [("submit_job", 403)]


def test_arbitrary_text_in_a_path_is_not_recorded(closed: Gateway) -> None:
    key = closed.give_key("acme", Scope.JOBS_READ)
    closed.request("DELETE", "/v1/jobs/%0Aforged%20line", headers=bearer(key))
    assert [(entry.action, entry.subject) for entry in written(closed)] == [("delete_job", "")]


def test_without_authentication_nothing_is_recorded(gateway: Gateway) -> None:
    gateway.submit("detect", JPEG)
    flush(gateway)
    assert gateway.store.ids("audit") == []


def test_entries_wait_for_an_unavailable_store(closed: Gateway) -> None:
    key = closed.give_key("acme")
    submit(closed, key)
    closed.store.away = True
    flush(closed)
    closed.store.away = False
    assert closed.stores.audit.page("acme", limit=1) == []
    assert [entry.action for entry in written(closed)] == ["submit_job"]


class SlowAudit:
    """A store whose writes take until they are released, and then fail as often as they are told to."""

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.entered, self.released = threading.Event(), threading.Event()
        self.entries: list[Entry] = []

    def add(self, entries: Sequence[Entry], *, keep: timedelta) -> None:
        self.entered.set()
        assert self.released.wait(30)
        if self.failures:
            self.failures -= 1
            raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, f"nothing is kept for {keep}")
        self.entries += entries


ENTRY = Entry(tenant="acme", key="k", action="submit_job", subject="job", status=202, request_id="r")


def opened(store: SlowAudit) -> AuditLog:
    return AuditLog(cast("Audit", store), keep=timedelta(days=1))


def test_a_flush_waits_for_a_write_that_has_begun() -> None:
    store = SlowAudit()

    async def flush_twice() -> None:
        audit = opened(store)
        audit.note(ENTRY)
        first = asyncio.create_task(audit.flush())
        await asyncio.to_thread(store.entered.wait, 30)
        second = asyncio.create_task(audit.flush())
        await asyncio.sleep(0)
        assert not second.done()
        store.released.set()
        await second
        assert store.entries == [ENTRY]
        await first

    asyncio.run(flush_twice())


def test_a_write_in_progress_at_the_end_is_repeated_if_it_fails() -> None:
    store = SlowAudit(failures=1)

    async def stop_while_writing() -> None:
        audit = opened(store)
        async with audit.running():
            audit.note(ENTRY)
            await asyncio.to_thread(store.entered.wait, 30)
            asyncio.get_running_loop().call_later(0.01, store.released.set)

    asyncio.run(stop_while_writing())
    assert store.entries == [ENTRY]


def test_a_tenant_reads_its_own_log_page_by_page(closed: Gateway) -> None:
    key = closed.give_key("acme")
    ids = [submit(closed, key).json()["id"] for _ in range(3)]
    written(closed)
    first = closed.get("/v1/audit?limit=2", headers=bearer(key)).json()
    rest = closed.get("/v1/audit", headers=bearer(key), params={"before": first["next_before"]}).json()
    assert [entry["subject"] for entry in [*first["entries"], *rest["entries"]]] == ids[::-1]
    assert rest["next_before"] is None
    assert first["entries"][0].keys() == {
        "id", "at", "tenant", "key", "action", "subject", "status", "request_id",
    }  # fmt: skip


def test_a_forged_cursor_of_the_audit_log_is_refused(closed: Gateway) -> None:
    key = closed.give_key("acme")
    assert closed.get("/v1/audit?before=+", headers=bearer(key)).status_code == 422
