"""Jobs that are canceled, deleted, retried, or expire."""

import pytest

from shared.errors import ErrorCode
from shared.jobs import JobFailure, Priority, shard_of
from shared.ledger.jobs.store import Outcome
from tests.unit.api.conftest import Gateway, MakeGateway, problem
from tests.unit.api.pictures import JPEG
from tests.unit.api.results import faces

LOST = JobFailure(ErrorCode.MODEL_FAILURE, "The model stumbled.", retryable=True)
NO_JOB = "/v1/jobs/job_00" + "0" * 32
CALLS = [("POST", "/cancel"), ("POST", "/retry"), ("DELETE", ""), ("GET", ""), ("GET", "/events")]


def failed(gateway: Gateway, failure: JobFailure = LOST) -> str:
    """The path of a failed job."""
    gateway.worker.script = lambda _: failure
    path: str = gateway.submit("detect", JPEG, metadata='{"case": 1}', priority="low").headers["location"]
    gateway.worker.script = None
    return path


@pytest.mark.parametrize(("method", "call"), CALLS)
@pytest.mark.parametrize(
    "path", [NO_JOB, "/v1/jobs/job_ff" + "0" * 32, "/v1/jobs/nope", "/v1/jobs/batch_00" + "0" * 32]
)
def test_unknown_job_is_404_on_every_route(gateway: Gateway, method: str, call: str, path: str) -> None:
    problem(gateway.request(method, path + call), 404, "job_not_found")


@pytest.mark.parametrize(("method", "call"), CALLS)
def test_unavailable_store_is_503_on_every_route(gateway: Gateway, method: str, call: str) -> None:
    path = gateway.submit("detect", JPEG).headers["location"]
    gateway.store.away = True
    problem(gateway.request(method, path + call), 503, "store_unavailable")


def test_queued_job_is_canceled_immediately(gateway: Gateway) -> None:
    job = gateway.submit("detect", JPEG).json()
    answer = gateway.post(job["urls"]["cancel"])
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert answer.json() == gateway.get(job["urls"]["self"]).json()
    assert gateway.ledger.claim("w") is None


def test_running_job_is_canceled_and_its_worker_fenced(gateway: Gateway) -> None:
    job = gateway.submit("detect", JPEG).json()
    claim = gateway.ledger.claim("w")
    assert claim is not None
    assert gateway.post(job["urls"]["cancel"]).json()["status"] == "canceled"
    assert not gateway.ledger.beat(job["id"], claim.token)
    assert not gateway.ledger.finish(job["id"], claim.token, Outcome(result={}))


def test_canceling_twice_returns_the_same_job(gateway: Gateway) -> None:
    cancel = gateway.submit("detect", JPEG).json()["urls"]["cancel"]
    first = gateway.post(cancel)
    again = gateway.post(cancel)
    assert (again.status_code, again.json()) == (200, first.json())


def test_job_that_ended_otherwise_cannot_be_canceled(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: faces(1)
    path = gateway.submit("detect", JPEG).headers["location"]
    problem(gateway.post(f"{path}/cancel"), 409, "job_ended")
    assert gateway.get(path).json()["status"] == "succeeded"


def test_canceling_ends_the_waits(gateway: Gateway) -> None:
    path = gateway.submit("detect", JPEG).headers["location"]
    waited, canceled = gateway.together(gateway.client.get(f"{path}?wait=30"), gateway.client.post(f"{path}/cancel"))
    assert (waited.json()["status"], canceled.json()["status"]) == ("canceled", "canceled")


def test_deleted_job_is_gone(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: faces(1)
    path = gateway.submit("detect", JPEG).headers["location"]
    answer = gateway.request("DELETE", path)
    assert (answer.status_code, answer.content) == (204, b"")
    problem(gateway.get(path), 404, "job_not_found")
    problem(gateway.request("DELETE", path), 404, "job_not_found")


def test_erasing_answers_waiting_calls_with_404(gateway: Gateway) -> None:
    path = gateway.submit("detect", JPEG).headers["location"]
    waited, erased = gateway.together(gateway.client.get(f"{path}?wait=30"), gateway.client.delete(path))
    assert erased.status_code == 204
    problem(waited, 404, "job_not_found")


def test_submission_waiting_for_a_deleted_job_is_404(gateway: Gateway) -> None:
    gateway.doorbell.answer = lambda: void(gateway.ledger.delete(gateway.jobs()[0].id))
    problem(gateway.submit("detect", JPEG, prefer="wait=30"), 404, "job_not_found")


def test_retrying_a_failed_job_creates_a_new_job(gateway: Gateway) -> None:
    old = failed(gateway)
    assert gateway.get(old).json()["urls"]["retry"] == f"{old}/retry"
    rings = gateway.doorbell.rings
    answer = gateway.post(f"{old}/retry")
    new = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, new["urls"]["self"])
    assert answer.headers["retry-after"] == "1"
    assert (new["status"], new["metadata"], new["priority"]) == ("queued", {"case": 1}, "low")
    assert (new["retry_of"], new["attempts"]) == (old.removeprefix("/v1/jobs/"), 0)
    assert gateway.doorbell.rings == rings + 1
    before = gateway.get(old).json()
    assert (before["status"], before["retried_as"], before["urls"]["retry"]) == ("failed", new["id"], None)


def test_retry_is_on_the_shard_of_the_original(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(shards=4)
    for _ in range(10):
        old = failed(gateway)
        new = gateway.post(f"{old}/retry").json()
        assert shard_of(new["id"]) == shard_of(new["retry_of"])
        gateway.post(new["urls"]["cancel"])


def test_retrying_twice_returns_the_same_job_and_rings_once(gateway: Gateway) -> None:
    old = failed(gateway)
    first = gateway.post(f"{old}/retry").json()
    rings = gateway.doorbell.rings
    assert gateway.post(f"{old}/retry").json() == first
    assert gateway.doorbell.rings == rings
    gateway.post(first["urls"]["cancel"])
    answer = gateway.post(f"{old}/retry")
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")


@pytest.mark.parametrize("how", ["waiting", "succeeded", "final failure"])
def test_job_that_cannot_be_retried_is_409(gateway: Gateway, how: str) -> None:
    if how == "final failure":
        path = failed(gateway, JobFailure(ErrorCode.INVALID_IMAGE, "Damaged."))
    else:
        gateway.worker.script = (lambda _: faces(1)) if how == "succeeded" else None
        path = gateway.submit("detect", JPEG).headers["location"]
    problem(gateway.post(f"{path}/retry"), 409, "not_retryable")
    assert gateway.get(path).json()["urls"]["retry"] is None


def test_retry_into_a_full_queue_is_503(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(queue_limit=1)
    old = failed(gateway)
    gateway.submit("detect", JPEG)
    problem(gateway.post(f"{old}/retry"), 503, "queue_full")


def test_priority_and_deadline_reach_the_ledger(gateway: Gateway) -> None:
    job = gateway.submit("detect", JPEG, priority="high", cancel_after="30s").json()
    record = gateway.ledger.read(job["id"])
    assert record is not None
    assert record.start_by is not None
    assert (job["priority"], record.priority) == ("high", Priority.HIGH)
    assert record.start_by - record.created_at == pytest.approx(30)
    assert job["start_by"] > job["created_at"]
    assert gateway.get(job["urls"]["self"]).json()["start_by"] == job["start_by"]


@pytest.mark.parametrize("form", ["multipart", "json"])
def test_an_unknown_priority_is_named(gateway: Gateway, form: str) -> None:
    if form == "json":
        body = {"operation": "detect", "image": {"base64": ""}, "priority": "urgent"}
        answer = gateway.post("/v1/jobs", json=body)
    else:
        answer = gateway.submit("detect", JPEG, priority="urgent")
    errors = problem(answer, 422, "invalid_request")["errors"]
    assert [error["field"] for error in errors] == ["priority"]
    assert all(priority in errors[0]["detail"] for priority in Priority)


def test_invalid_deadline_is_reported_and_creates_no_job(gateway: Gateway) -> None:
    answer = gateway.submit("detect", JPEG, cancel_after="soon")
    assert problem(answer, 422, "invalid_request")["errors"][0]["field"] == "Cancel-After"
    assert gateway.ledger.depth() == (0, 0)


def test_respond_async_does_not_wait_and_is_acknowledged(gateway: Gateway) -> None:
    answer = gateway.submit("detect", JPEG, prefer="respond-async")
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
    answer = gateway.submit("detect", JPEG, prefer="respond-async, wait=0")
    assert answer.headers["preference-applied"] == "respond-async, wait=0"


def test_waiting_for_the_end_reads_the_ledger_once(gateway: Gateway) -> None:
    gateway.worker.script, gateway.worker.awaited = lambda _: faces(1), gateway.awaited
    assert gateway.submit("detect", JPEG, prefer="wait=30").status_code == 200
    assert gateway.ledger.reads == 1


def test_classic_call_reports_that_its_job_was_removed(gateway: Gateway) -> None:
    def first() -> str:
        return gateway.jobs()[0].id

    gateway.doorbell.answer = lambda: void(gateway.ledger.cancel(first()))
    problem(gateway.classic("/detect", JPEG), 409, "job_ended")
    gateway.ledger.delete(first())
    gateway.doorbell.answer = lambda: void(gateway.ledger.delete(first()))
    problem(gateway.classic("/detect", JPEG), 409, "job_ended")


def void(_: object) -> None:
    """Do nothing."""


def test_every_status_can_be_shown(gateway: Gateway) -> None:
    path = gateway.submit("detect", JPEG, cancel_after="30s").headers["location"]
    gateway.store.set_clock(by=31)
    gateway.ledger.reap(max_attempts=3)
    answer = gateway.get(path)
    assert (answer.json()["status"], answer.json()["error"]) == ("expired", None)
    assert "retry-after" not in answer.headers
