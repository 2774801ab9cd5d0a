"""Use cases of liveness sessions: open a session, accept a frame, advance the session with its result."""

import asyncio
import hashlib
import random
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, NoReturn, TypedDict

import structlog
from anyio import CancelScope, to_thread

from api.backend.backend import Backend
from api.images.base64_text import decoded
from api.jobs.parsing import check_metadata, check_size, checked_webhook
from api.jobs.schemas import ReferenceVector
from api.jobs.submit import Submission, limits, new_id
from api.jobs.submit_and_wait import ask
from api.liveness.challenge import Memory, draw_challenge, is_repeat, refusal
from api.liveness.schemas import SessionRequest
from api.liveness.session_judge import judge
from api.settings.api import ApiSettings
from shared.errors import ErrorCode, FieldError, JobError, RequestError
from shared.faces import Recognisability, checked_vector
from shared.image_header.inspection import inspect_image
from shared.jobs import Job, NewJob, Priority, Status, shard_of
from shared.ledger.sessions.store import frame_in_work, no_such_session
from shared.liveness_sessions import FrameInWork, NewSession, Session, SessionStatus, Step, new_session_id
from shared.operations import FrameParams, Operation
from shared.results import FrameResult
from shared.tenants import ANYTHING, Grant
from shared.webhooks.schemas import EventType, Webhook

EVENTS: Final = (EventType.SESSION_COMPLETED,)
MOST_FRAMES: Final = 200
"""Maximum number of frames per session: more than a minute at three frames per second."""
FRAME_TTL: Final = timedelta(minutes=10)
"""How long the result of a frame is kept if nobody reads it. Its session has ended by then."""
TRIES: Final = 3
"""Attempts to accept a frame while concurrent requests change its session."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Frame:
    """An image as the client sent it."""

    image: bytes
    sequence: int
    taken_at: float
    """The client's clock, in seconds."""

    @property
    def digest(self) -> str:
        """A hash of the image."""
        return hashlib.sha256(self.image).hexdigest()


class _FrameIdentity(TypedDict):
    digest: str
    sequence: int


async def open_session(
    request: SessionRequest,
    *,
    tenant: str,
    grant: Grant = ANYTHING,
    backend: Backend,
    settings: ApiSettings,
) -> Session:
    """Draw a challenge and store its session. The job of a reference image counts toward the tenant's quota.

    Raises:
        RequestError: a field is invalid, or the reference does not show exactly one face.
        EmbeddingError: the reference embedding cannot be compared.
        JobError: the job of the reference failed.
        UnavailableError: the reference cannot be analyzed now, `quota_exceeded` or `store_unavailable`.
    """
    check_metadata(request.metadata)
    webhook = checked_webhook(request.webhook, hooks=settings.webhook_policy, events=EVENTS)
    if Step.BLINK in request.kinds:
        await to_thread.run_sync(_check_eyes, backend)
    session_id = new_session_id(shard=shard_of(new_id(backend.stores.jobs)), now_ms=time.time_ns() // 1_000_000)
    reference = await _reference(
        request, session_id=session_id, tenant=tenant, grant=grant, backend=backend, settings=settings
    )
    new = _new_session(
        request,
        session_id=session_id,
        tenant=tenant,
        webhook=webhook,
        reference=reference,
        settings=settings,
    )
    session = await to_thread.run_sync(_store, new, grant, backend)
    log.info("session.opened", session_id=session.id, steps=len(session.steps))
    return session


def _new_session(
    request: SessionRequest,
    *,
    session_id: str,
    tenant: str,
    webhook: Webhook | None,
    reference: Memory,
    settings: ApiSettings,
) -> NewSession:
    """The session to store, with a random challenge."""
    return NewSession(
        id=session_id,
        steps=draw_challenge(tuple(request.kinds), request.movements, rng=random.SystemRandom()),
        length=timedelta(seconds=request.seconds),
        step_length=timedelta(seconds=request.step_seconds),
        most_frames=MOST_FRAMES,
        result_ttl=settings.result_ttl,
        tenant=tenant,
        metadata=request.metadata,
        webhook=webhook,
        memory=reference.model_dump_json(),
    )


def _store(new: NewSession, grant: Grant, backend: Backend) -> Session:
    backend.stores.pressure.refuse_if_high()
    backend.stores.sessions.open(new, grant=grant)
    return read(backend, new.id)


def _check_eyes(backend: Backend) -> None:
    if not all("eyes" in worker.attributes for worker in backend.workers.required()):
        _refuse("kinds", "blink requires a model pack with an eye model on every worker")


async def _reference(
    request: SessionRequest, *, session_id: str, tenant: str, grant: Grant, backend: Backend, settings: ApiSettings
) -> Memory:
    """The initial memory of a session, with the reference if there is one."""
    reference = request.reference
    if reference is None:
        return Memory()
    if reference.embedding is not None:
        return await _reference_embedding(reference.embedding, backend)
    image = decoded(reference.base64 or "", field="reference.base64")
    submission = Submission(
        operation=Operation.FRAME,
        params=FrameParams(),
        image=image,
        priority=Priority.HIGH,
        tenant=tenant,
        grant=grant,
        session=session_id,
    )
    result = await _analyze(submission, backend=backend, settings=settings)
    if result.face is None or result.face.embedding is None:
        _refuse("reference.base64", f"must show exactly one face, but shows {result.num_faces}")
    _check_recognisable(result.face.embedding.recognisability, field="reference.base64")
    embedding = result.face.embedding
    return Memory(reference=embedding.vector, contract=embedding.contract)


async def _reference_embedding(embedding: ReferenceVector, backend: Backend) -> Memory:
    vector = list(checked_vector(embedding.vector, name="The reference embedding"))
    workers = await to_thread.run_sync(backend.workers.alive)
    check_size(vector, workers, name="The reference embedding")
    contracts = {worker.embedding_contract for worker in workers}
    if embedding.contract is not None and contracts and embedding.contract not in contracts:
        raise JobError(
            ErrorCode.EMBEDDING_CONTRACT_MISMATCH,
            f"The reference embedding has contract {embedding.contract}; "
            f"the current models have {', '.join(sorted(contracts))}.",
        )
    _check_recognisable(embedding.recognisability, field="reference.embedding")
    return Memory(reference=vector, contract=embedding.contract)


async def _analyze(submission: Submission, *, backend: Backend, settings: ApiSettings) -> FrameResult:
    """Run a job and return its result. The job is deleted in any case, even if the client disconnects."""
    job_id = new_id(backend.stores.jobs)
    try:
        return await ask(FrameResult, submission, job_id=job_id, backend=backend, settings=settings)
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(partial(backend.stores.jobs.delete, job_id, tenant=submission.tenant))


def _check_recognisable(verdict: Recognisability | None, *, field: str) -> None:
    """Reject a face that cannot be recognized. A face without a verdict is accepted."""
    if verdict is not None and not verdict.recognisable:
        reasons = ", ".join(verdict.reasons)
        _refuse(field, f"shows a face that cannot be recognized ({reasons}). {verdict.advice or ''}".rstrip())


def read(backend: Backend, session_id: str, *, tenant: str | None = None) -> Session:
    """Read a session; with a tenant, only if it belongs to that tenant.

    Raises:
        RequestError: `session_not_found`.
    """
    session = backend.stores.sessions.read(session_id, tenant=tenant)
    if session is None:
        raise no_such_session()
    return session


def settle(backend: Backend, session_id: str, *, tenant: str | None = None) -> Session:
    """Read a session, and advance it first if the job of its frame has ended. The first reader advances it.

    Raises:
        RequestError: `session_not_found`.
    """
    session = read(backend, session_id, tenant=tenant)
    if session.frame is None:
        return session
    job = backend.stores.jobs.read(session.frame.job_id)
    if job is not None and not job.status.is_terminal:
        return session
    verdict = judge(session, _result(job))
    progress = verdict.progress.model_dump_json()
    if verdict.status is None:
        memory = verdict.memory.model_dump_json()
        backend.stores.sessions.step(session, progress=progress, memory=memory, next_step=verdict.next_step)
    elif backend.stores.sessions.finish(session, status=verdict.status, reason=verdict.reason, progress=progress):
        log.info("session.ended", session_id=session_id, status=verdict.status.value, reason=verdict.reason)
    return read(backend, session_id)


def _result(job: Job | None) -> FrameResult | None:
    if job is None or job.status is not Status.SUCCEEDED:
        return None
    return FrameResult.model_validate(job.result)


async def take_frame(
    session_id: str, frame: Frame, *, grant: Grant = ANYTHING, backend: Backend, settings: ApiSettings
) -> tuple[Session, bool]:
    """Submit a frame and wait for its verdict. Returns the session, and whether the frame has been judged.

    Raises:
        RequestError: `session_not_found`, `session_ended`, `frame_in_work`.
        ImageError: the image is not acceptable; the frame does not count.
        UnavailableError: `queue_full`, `quota_exceeded`, `store_unavailable`; the frame was not accepted.
    """
    inspect_image(frame.image, max_bytes=settings.max_image_bytes, max_pixels=settings.max_pixels)
    job_id = new_id(backend.stores.jobs, shard=shard_of(session_id))
    clock = asyncio.get_running_loop().time
    deadline = clock() + settings.sync_timeout.total_seconds()
    with backend.waiting.watch(job_id) as watch:
        session = await to_thread.run_sync(partial(_take, session_id, frame, job_id, grant, backend, settings))
        while session.frame is not None:
            left = min(deadline, backend.waiting.last_call or deadline) - clock()
            if left <= 0:
                return session, False
            # The frame of a repeated request has a job of its own that is not watched, so poll every second.
            await watch.happened(within=timedelta(seconds=min(left, 1.0) if session.frame.job_id != job_id else left))
            watch.forget()
            session = await to_thread.run_sync(settle, backend, session_id)
    return session, True


def _take(session_id: str, frame: Frame, job_id: str, grant: Grant, backend: Backend, settings: ApiSettings) -> Session:
    """The session with the frame accepted; unchanged if the frame was a repeat, or ended if it was refused."""
    sessions = backend.stores.sessions
    identity = _FrameIdentity(digest=frame.digest, sequence=frame.sequence)
    for _ in range(TRIES):
        session = settle(backend, session_id)
        if is_repeat(session, **identity):
            return session
        if session.status is not SessionStatus.RUNNING:
            raise session_ended(session)
        if session.frame is not None:
            raise frame_in_work()
        reason = refusal(session, **identity, taken_at=frame.taken_at)
        if reason is not None:
            if sessions.fail(session, reason=reason):
                log.info("session.ended", session_id=session_id, status="failed", reason=reason.value)
                return read(backend, session_id)
            continue
        pending = FrameInWork(job_id=job_id, taken_at=frame.taken_at, received_at=0.0, **identity)
        queue_limits = limits(settings, tenant=session.tenant, grant=grant)
        if sessions.take(session, pending, _job(session, frame, job_id), limits=queue_limits):
            backend.doorbell.ring()
            return read(backend, session_id)
        session = read(backend, session_id)
        if session.status is not SessionStatus.RUNNING:
            return session
    raise frame_in_work()


def _job(session: Session, frame: Frame, job_id: str) -> NewJob:
    return NewJob(
        id=job_id,
        operation=Operation.FRAME,
        params=FrameParams().model_dump(mode="json", exclude_none=True),
        image=frame.image,
        priority=Priority.HIGH,
        tenant=session.tenant,
        session=session.id,
        result_ttl=FRAME_TTL,
    )


def session_ended(session: Session) -> RequestError:
    """The error for a request to a session that has ended."""
    reason = f", reason: {session.reason.value}" if session.reason else ""
    return RequestError(
        ErrorCode.SESSION_ENDED, f"The session has already ended (status: {session.status.value}{reason})."
    )


def _refuse(field: str, detail: str) -> NoReturn:
    raise RequestError(ErrorCode.INVALID_REQUEST, "The session is not valid.", fields=(FieldError(field, detail),))
