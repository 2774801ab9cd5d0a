"""What a callback says: no biometric data unless it was asked for, and never more than a body may hold."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.deliveries import Event
from shared.jobs import Job, Status
from shared.operations import Operation
from shared.webhooks.schemas import EventType
from worker.courier.payload import body

BASE = "https://faces.example.org"
EVENT = Event(id="evt_1", type=EventType.JOB_SUCCEEDED, at=1_790_000_000.5, subject="job_1", operation="embed")
VECTOR = [0.125] * 512
FACE = {"box": [1, 2, 3, 4], "embedding": {"vector": VECTOR, "contract": "c"}}
JOB = Job(
    id="job_1",
    operation=Operation.EMBED,
    status=Status.SUCCEEDED,
    created_at=1_790_000_000.0,
    metadata={"case": 7},
    result={"kind": "faces", "faces": [FACE]},
)


def said(event: Event = EVENT, **options: Any) -> dict[str, Any]:
    given = {"base_url": BASE, "job": JOB, "full": False, "embeddings": False, "most": 100_000, **options}
    raw = body(event, **given)
    assert len(raw) <= max(given["most"], 1000)
    document: dict[str, Any] = json.loads(raw)
    assert set(document) == {"type", "timestamp", "data"}
    return document


def test_a_thin_body_identifies_the_job_without_face_data() -> None:
    assert said() == {
        "type": "job.succeeded",
        "timestamp": "2026-09-21T14:13:20.500Z",
        "data": {
            "id": "job_1",
            "operation": "embed",
            "status": "succeeded",
            "finished_at": "2026-09-21T14:13:20.500Z",
            "error_code": None,
            "url": f"{BASE}/v1/jobs/job_1",
            "full": False,
        },
    }


def test_a_full_body_is_the_job_without_its_embeddings() -> None:
    data = said(full=True)["data"]
    assert (data["full"], data["metadata"], data["url"]) == (True, {"case": 7}, f"{BASE}/v1/jobs/job_1")
    assert data["result"]["faces"] == [{"box": [1, 2, 3, 4]}]
    assert data["urls"]["self"] == f"{BASE}/v1/jobs/job_1"
    assert data["urls"]["retry"] is None


def test_embeddings_are_included_only_on_request() -> None:
    assert said(full=True, embeddings=True)["data"]["result"]["faces"] == [FACE]


def test_metadata_reaches_the_receiver_as_the_caller_wrote_it() -> None:
    metadata = {"embedding": "mine", "nested": [{"embedding": {"model": "theirs"}, "known_embeddings": 3}]}
    job = replace(JOB, metadata=metadata)
    data = said(job=job, full=True)["data"]
    assert data["metadata"] == metadata
    assert data["result"]["faces"] == [{"box": [1, 2, 3, 4]}]


@given(
    st.dictionaries(
        st.sampled_from(["embedding", "result", "data", "x"]),
        st.recursive(
            st.none() | st.integers(-9, 9) | st.text(max_size=3),
            lambda value: st.lists(value, max_size=3) | st.dictionaries(st.sampled_from(["embedding", "y"]), value),
            max_leaves=8,
        ),
    )
)
def test_no_metadata_is_changed_by_a_callback(metadata: dict[str, Any]) -> None:
    assert said(job=replace(JOB, metadata=metadata), full=True)["data"]["metadata"] == metadata


def test_a_job_that_is_gone_leaves_a_thin_body_that_says_so() -> None:
    data = said(full=True, job=None)["data"]
    assert (data["full"], data["reason"]) == (False, "the job has expired or was erased")
    assert "result" not in data


def test_a_job_that_is_too_large_is_sent_thin() -> None:
    data = said(full=True, embeddings=True, most=1500)["data"]
    assert (data["full"], data["reason"]) == (False, "the job exceeds the maximum size of a callback")


def test_a_batch_is_counted() -> None:
    event = Event(
        id="evt_2",
        type=EventType.BATCH_COMPLETED,
        at=1.0,
        subject="batch_1",
        total=2,
        counts={Status.SUCCEEDED: 1, Status.FAILED: 1},
    )
    assert said(event, full=True)["data"] == {
        "id": "batch_1",
        "status": "completed",
        "total": 2,
        "counts": {"succeeded": 1, "failed": 1},
        "url": f"{BASE}/v1/batches/batch_1",
    }


def test_a_liveness_session_says_how_it_ended_and_why() -> None:
    event = Event(
        id="evt_4", type=EventType.SESSION_COMPLETED, at=1.0, subject="live_1", status="failed", code="flat_face"
    )
    assert said(event, full=True)["data"] == {
        "id": "live_1",
        "status": "failed",
        "reason": "flat_face",
        "url": f"{BASE}/v1/liveness-sessions/live_1",
    }


def test_a_test_says_that_it_is_one() -> None:
    event = Event(id="evt_3", type=EventType.TEST, at=1.0, subject="we_1")
    assert said(event, base_url="")["data"] == {"id": "we_1", "message": "This is a test event."}
