"""`GET /v1/jobs`: newest first, pages, and filters."""

from typing import Any

import pytest

from api.jobs.schemas import JobList
from shared.errors import ErrorCode
from shared.jobs import JobFailure
from shared.ledger.jobs.listing import Position
from tests.unit.api.conftest import Gateway, problem
from tests.unit.api.jobs.test_routes import named
from tests.unit.api.pictures import JPEG
from tests.unit.api.results import faces


def listed(gateway: Gateway, **query: Any) -> list[str]:
    answer = gateway.get("/v1/jobs", params=query)
    assert answer.status_code == 200, answer.text
    JobList.model_validate(answer.json())
    return [job["id"] for job in answer.json()["jobs"]]


def put(gateway: Gateway, count: int, operation: str = "detect") -> list[str]:
    return [gateway.submit(operation, JPEG).json()["id"] for _ in range(count)]


def test_no_jobs_are_an_empty_list(gateway: Gateway) -> None:
    assert gateway.get("/v1/jobs").json() == {"jobs": [], "next_cursor": None}


def test_newest_jobs_come_first(gateway: Gateway) -> None:
    ids = put(gateway, 3)
    assert listed(gateway) == ids[::-1]


def test_entry_is_the_job_without_its_result(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: faces(1)
    path = gateway.submit("detect", JPEG, metadata='{"a": 1}').headers["location"]
    job = gateway.get(path).json()
    assert job.pop("result") == faces(1)
    assert gateway.get("/v1/jobs").json()["jobs"] == [job]


def test_pages_show_every_job_once_while_jobs_are_added(gateway: Gateway) -> None:
    ids = put(gateway, 7)
    seen: list[str] = []
    cursor: str | None = None
    while cursor is not None or not seen:
        answer = gateway.get("/v1/jobs", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        seen += [job["id"] for job in answer["jobs"]]
        cursor = answer["next_cursor"]
        put(gateway, 1)
    assert seen == ids[::-1]


def test_full_last_page_has_no_next_cursor(gateway: Gateway) -> None:
    put(gateway, 2)
    assert gateway.get("/v1/jobs", params={"limit": 2}).json()["next_cursor"] is None


def test_jobs_are_found_by_status_operation_and_time(gateway: Gateway) -> None:
    old, first, second = put(gateway, 3)
    embed = put(gateway, 1, "embed")[0]
    gateway.post(f"/v1/jobs/{second}/cancel")
    assert listed(gateway, status="canceled") == [second]
    assert listed(gateway, operation="embed") == [embed]
    assert listed(gateway, status="queued", operation="detect") == [first, old]
    assert listed(gateway, status="failed") == []
    after = gateway.get("/v1/jobs/" + first).json()["created_at"]
    assert listed(gateway, created_after=after)[:2] == [embed, second]
    assert old not in listed(gateway, created_after=after)
    assert listed(gateway, created_after=after.replace("Z", "+00:00")) == listed(gateway, created_after=after)


def test_dead_letters_are_found(gateway: Gateway) -> None:
    failures = [JobFailure(ErrorCode.WORKER_LOST, "Lost.", retryable=True), JobFailure(ErrorCode.INVALID_IMAGE, "Bad.")]
    ids = []
    for failure in failures:
        gateway.worker.script = lambda _, failure=failure: failure
        ids += put(gateway, 1)
    assert listed(gateway, dead_lettered="true") == ids[:1]
    assert listed(gateway, status="failed") == ids[::-1]
    assert listed(gateway, dead_lettered="true", status="queued") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "done"),
        ("status", ""),
        ("operation", "paint"),
        ("created_after", "yesterday"),
        ("created_after", "2026-01-01T00:00:00"),
        ("created_after", ""),
        ("created_after", "0.5"),
        ("created_after", "2026-01-01"),
        ("created_after", "2026-01-01T00:00Z"),
        ("limit", "0"),
        ("limit", "201"),
        ("limit", "many"),
        ("cursor", "garbage"),
        ("cursor", "A" * 80),
        ("cursor", "ä"),
        ("dead_lettered", "perhaps"),
        ("stauts", "failed"),
    ],
)
def test_an_unknown_filter_is_named(gateway: Gateway, name: str, value: str) -> None:
    assert named(gateway.get("/v1/jobs", params={name: value})) == [name]


def test_cursor_of_another_list_is_rejected(gateway: Gateway) -> None:
    put(gateway, 3)
    cursor = gateway.get("/v1/jobs", params={"limit": 1}).json()["next_cursor"]
    assert named(gateway.get("/v1/jobs", params={"cursor": cursor, "status": "queued"})) == ["cursor"]


def test_cursor_is_opaque(gateway: Gateway) -> None:
    ids = put(gateway, 2)
    cursor = gateway.get("/v1/jobs", params={"limit": 1}).json()["next_cursor"]
    assert ids[1] not in cursor
    assert Position.__name__ not in cursor


def test_unavailable_store_is_503(gateway: Gateway) -> None:
    gateway.store.away = True
    problem(gateway.get("/v1/jobs"), 503, "store_unavailable")
