"""Submits a job and waits for its result; a failed job raises its error."""

from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from anyio import to_thread
from pydantic import BaseModel

from api.backend.backend import Backend
from api.jobs.submit import Submission, submit
from api.settings.api import ApiSettings
from shared.errors import ErrorCode, JobError, RequestError, UnavailableError
from shared.jobs import Job, Status

TIMEOUT_RETRY: Final = timedelta(seconds=5)

R = TypeVar("R", bound=BaseModel)


async def ask(kind: type[R], submission: Submission, *, job_id: str, backend: Backend, settings: ApiSettings) -> R:
    """Submit a job and return its result.

    Raises:
        RequestError: the request or its image is invalid, or the job was canceled or deleted.
        JobError: the job failed.
        UnavailableError: `no_worker`, `queue_full`, `quota_exceeded`, `store_unavailable`, or `wait_timeout`.
    """
    # Watching starts before the job exists, so its end cannot be missed and need not be polled for.
    with backend.waiting.watch(job_id, tenant=submission.tenant) as watch:
        job = await to_thread.run_sync(partial(_submit, submission, job_id, backend, settings))
        try:
            ended = await watch.end(job, timeout=settings.sync_timeout)
        except RequestError:
            raise RequestError(
                ErrorCode.JOB_ENDED, "The job of this request was deleted before it completed."
            ) from None
    if ended.status is Status.CANCELED:
        raise RequestError(ErrorCode.JOB_ENDED, "The job of this request was canceled before it completed.")
    if not ended.status.is_terminal:
        detail = f"The image was not analyzed within {settings.sync_timeout.total_seconds():g} s."
        raise UnavailableError(ErrorCode.WAIT_TIMEOUT, detail, retry_after=TIMEOUT_RETRY)
    if ended.error is not None:
        raise JobError(ended.error.code, ended.error.detail)
    return kind.model_validate(ended.result)


def _submit(submission: Submission, job_id: str, backend: Backend, settings: ApiSettings) -> Job:
    backend.workers.required()
    return submit(
        submission,
        job_id=job_id,
        ledger=backend.stores.jobs,
        doorbell=backend.doorbell,
        settings=settings,
        result_ttl=settings.sync_result_ttl,
    )
