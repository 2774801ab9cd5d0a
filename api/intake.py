"""Submit: check the image, put the job on record, ring for a worker."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from api.images import inspect_image
from api.settings import ApiSettings
from shared.dispatch import Doorbell
from shared.errors import ImageError
from shared.jobs import Job, NewJob, Status, Transition, new_job_id
from shared.operations import FindParams, Operation
from shared.storage.admission import Limits
from shared.storage.ledger import Ledger

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Submission:
    """What a caller wants done. `reference` is a second image file, or empty."""

    operation: Operation
    image: bytes
    params: FindParams
    metadata: Mapping[str, Any] = field(default_factory=dict)
    reference: bytes = b""


def submit(
    submission: Submission, *, ledger: Ledger, doorbell: Doorbell, settings: ApiSettings, result_ttl: timedelta
) -> Job:
    """Accept a job, or refuse it; once this returns, the job is on record. Blocks: not for the event loop.

    Raises:
        ImageError: an image is not one that we take; nothing was accepted.
        UnavailableError: `queue_full` or `store_unavailable`; nothing was accepted.
    """
    inspect_image(submission.image, max_bytes=settings.max_image_bytes, max_pixels=settings.max_pixels)
    if submission.reference:
        _inspect_reference(submission.reference, settings)
    job_id = new_job_id(shard=secrets.randbelow(ledger.shards), now_ms=time.time_ns() // 1_000_000)
    params = submission.params.model_dump(mode="json", exclude_none=True)
    metadata = dict(submission.metadata)
    accepted = ledger.accept(
        NewJob(
            id=job_id,
            operation=submission.operation,
            params=params,
            metadata=metadata,
            image=submission.image,
            reference=submission.reference,
            result_ttl=result_ttl,
        ),
        limits=Limits(settings.queue_limit, settings.queue_age_limit),
    )
    doorbell.ring()
    log.info("job.submitted", job_id=job_id, operation=submission.operation.value, depth=accepted.depth)
    return Job(
        id=job_id,
        operation=submission.operation,
        status=Status.QUEUED,
        created_at=accepted.created_at,
        params=params,
        metadata=metadata,
        history=(Transition(1, Status.QUEUED, accepted.created_at),),
    )


def _inspect_reference(image: bytes, settings: ApiSettings) -> None:
    try:
        inspect_image(image, max_bytes=settings.max_image_bytes, max_pixels=settings.max_pixels)
    except ImageError as error:
        raise ImageError(error.code, f"The reference: {error.detail}") from None
