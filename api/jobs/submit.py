"""Submits a job: check the images, store the job, ring the doorbell."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import timedelta
from typing import Any

import structlog

from api.settings.api import ApiSettings
from shared.dispatch import Doorbell
from shared.errors import ImageError
from shared.image_header.inspection import inspect_image
from shared.jobs import Job, JobRequest, NewJob, new_job_id, queued
from shared.ledger.admission import Limits
from shared.ledger.idempotency import NO_KEY, Reservation
from shared.ledger.jobs.store import Ledger
from shared.observability import request_context
from shared.operations import FindParams, RegisterParams
from shared.quality import QualityPolicy
from shared.tenants import ANYTHING, DEFAULT, Grant

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission(JobRequest):
    """A job as requested by the caller, parsed and checked."""

    params: FindParams
    tenant: str = DEFAULT
    grant: Grant = ANYTHING
    """The permissions of the caller when it was authenticated."""
    quality_policy: Mapping[str, Any] = field(default_factory=dict)
    """Defaults for the tenant's registrations; not part of the request."""

    @property
    def content(self) -> dict[str, Any]:
        """The submission as JSON-compatible data, with the images as bytes."""
        return {
            "operation": self.operation.value,
            "params": self.params.model_dump(mode="json", exclude_none=True),
            "image": self.image_url or self.image,
            "reference": self.reference_url or self.reference,
            "metadata": dict(self.metadata),
            "priority": self.priority.value,
            "start_within": None if self.start_within is None else self.start_within.total_seconds(),
            **({"extra_images": list(self.extra_images)} if self.extra_images else {}),
            **({} if self.webhook is None else {"webhook": asdict(self.webhook)}),
        }


def new_id(ledger: Ledger, *, shard: int | None = None) -> str:
    """Create a job id, on the given shard or a random one."""
    chosen = secrets.randbelow(ledger.shards) if shard is None else shard
    return new_job_id(shard=chosen, now_ms=time.time_ns() // 1_000_000)


def new_job(submission: Submission, *, job_id: str, settings: ApiSettings, result_ttl: timedelta) -> NewJob:
    """The job to accept. Checks the images that came with the request, not those to be fetched by URL.

    Raises:
        ImageError: an image is not acceptable.
    """
    if submission.image_url is None:
        inspect_image(submission.image, max_bytes=settings.max_image_bytes, max_pixels=settings.max_pixels)
    if submission.reference:
        _inspect_named(submission.reference, settings, name="The reference")
    for index, image in enumerate(submission.extra_images, 1):
        _inspect_named(image, settings, name=f"Image {index}")
    params = submission.params
    if isinstance(params, RegisterParams) and submission.quality_policy:
        params = params.held_to(QualityPolicy.model_validate(submission.quality_policy))
    requested = {each.name: getattr(submission, each.name) for each in fields(JobRequest)}
    return NewJob(
        **requested,
        id=job_id,
        params=params.model_dump(mode="json", exclude_none=True),
        tenant=submission.tenant,
        context=request_context.current(),
        result_ttl=result_ttl,
    )


def limits(settings: ApiSettings, *, tenant: str, grant: Grant) -> Limits:
    """The limits on queued jobs, in total and for this tenant."""
    return Limits(settings.queue_limit, settings.queue_age_limit, grant=grant, tenant=tenant)


def submit(
    submission: Submission,
    *,
    job_id: str,
    ledger: Ledger,
    doorbell: Doorbell,
    settings: ApiSettings,
    result_ttl: timedelta,
    under: Reservation = NO_KEY,
) -> Job:
    """Accept or reject a job. When this returns, the job is stored. Blocks: do not call it on the event loop.

    Args:
        submission: the job to accept.
        job_id: from `new_id`; a caller that waits for the job is already watching this id.
        ledger: where the job is stored.
        doorbell: rung to wake a worker, unless an image must be fetched first.
        settings: the limits.
        result_ttl: how long the job can be read after it has ended.
        under: the sealed idempotency key of the caller, settled by the acceptance.

    Raises:
        ImageError: an image is not acceptable; the job was not accepted.
        RequestError: `idempotency_in_progress`; the job was not accepted.
        UnavailableError: `queue_full`, `quota_exceeded` or `store_unavailable`; the job was not accepted.
    """
    new = new_job(submission, job_id=job_id, settings=settings, result_ttl=result_ttl)
    accepted = ledger.accept(
        new, limits=limits(settings, tenant=submission.tenant, grant=submission.grant), under=under
    )
    if new.has_images:
        doorbell.ring()
    log.info("job.submitted", job_id=job_id, operation=new.operation.value, depth=accepted.depth)
    return queued(new, at=accepted.created_at)


def _inspect_named(image: bytes, settings: ApiSettings, *, name: str) -> None:
    try:
        inspect_image(image, max_bytes=settings.max_image_bytes, max_pixels=settings.max_pixels)
    except ImageError as error:
        raise ImageError(error.code, f"{name}: {error.detail}") from None
