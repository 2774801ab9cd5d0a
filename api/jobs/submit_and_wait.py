"""Ask a worker and wait: submit a job, wait for its end, and give its result or raise what it failed of."""

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
    """The result of a job that somebody waits for.

    Raises:
        RequestError: the request or its image is wrong.
        JobError: the job failed.
        UnavailableError: no worker, a full queue, no store, or `wait_timeout`.
    """
    # The watch begins before the job is there: no end of it is missed, and none has to be looked for.
    with backend.waiting.watch(job_id, tenant=submission.tenant) as watch:
        job = await to_thread.run_sync(partial(_submit, submission, job_id, backend, settings))
        try:
            ended = await watch.end(job, timeout=settings.sync_timeout)
        except RequestError:
            raise RequestError(ErrorCode.JOB_ENDED, "The job of this call was erased before it was done.") from None
    if ended.status is Status.CANCELED:
        raise RequestError(ErrorCode.JOB_ENDED, "The job of this call was canceled before it was done.")
    if not ended.status.is_terminal:
        detail = f"The image was not analysed within {settings.sync_timeout.total_seconds():g} s."
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
