"""Submitting a job: check, store, ring the doorbell, in this order."""

from datetime import timedelta

import pytest

from api.jobs.submit import Submission, new_id, submit
from api.settings.api import ApiSettings
from shared.errors import ImageError, UnavailableError
from shared.jobs import Job, Status, is_job_id
from shared.ledger.jobs.store import Ledger
from shared.operations import FindParams, Operation
from tests.doubles import RecordingDoorbell
from tests.unit.api.pictures import JPEG


def put(
    ledger: Ledger, doorbell: RecordingDoorbell, *, image: bytes = JPEG, reference: bytes = b"", limit: int = 10
) -> Job:
    submission = Submission(operation=Operation.DETECT, image=image, params=FindParams(), reference=reference)
    settings = ApiSettings(queue_limit=limit)
    job_id = new_id(ledger)
    return submit(
        submission, job_id=job_id, ledger=ledger, doorbell=doorbell, settings=settings, result_ttl=timedelta(hours=1)
    )


def test_submitted_job_is_the_stored_one(ledger: Ledger) -> None:
    job = put(ledger, RecordingDoorbell())
    assert is_job_id(job.id)
    assert job == ledger.read(job.id)
    assert job.status is Status.QUEUED


def test_doorbell_rings_only_after_the_job_is_stored(ledger: Ledger) -> None:
    depths: list[tuple[int, int]] = []
    doorbell = RecordingDoorbell(lambda: depths.append(ledger.depth()))
    put(ledger, doorbell)
    assert depths == [(1, 0)]


@pytest.mark.parametrize(("image", "reference"), [(b"nonsense", b""), (JPEG, b"nonsense")])
def test_rejected_image_leaves_no_trace(ledger: Ledger, image: bytes, reference: bytes) -> None:
    doorbell = RecordingDoorbell()
    with pytest.raises(ImageError):
        put(ledger, doorbell, image=image, reference=reference)
    assert (ledger.depth(), doorbell.rings) == ((0, 0), 0)


def test_rejected_job_rings_no_doorbell(ledger: Ledger) -> None:
    doorbell = RecordingDoorbell()
    put(ledger, doorbell, limit=1)
    with pytest.raises(UnavailableError):
        put(ledger, doorbell, limit=1)
    assert doorbell.rings == 1


def test_absent_parameters_without_default_are_omitted(ledger: Ledger) -> None:
    assert put(ledger, RecordingDoorbell()).params == {
        "full_size": False,
        "max_faces": 100,
        "min_face_px": 0.0,
        "select": "all",
        "clamp_boxes": False,
        "auto_orient": False,
    }
