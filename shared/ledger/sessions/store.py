"""Liveness sessions in the ledger: one record each, changed by one script for each step."""

import json
from collections.abc import Mapping
from typing import Any, Final, cast

import redis

from shared.errors import ErrorCode, RequestError
from shared.jobs import NewJob, shard_of
from shared.ledger import keys, scripts
from shared.ledger.admission import Limits, grant_json, refuse_where_full, refuse_where_void
from shared.ledger.connection import store_errors
from shared.ledger.jobs.records import new_job_json
from shared.liveness_sessions import GRACE, FrameInWork, NewSession, Reason, Session, SessionStatus, Step
from shared.tenants import ANYTHING, Grant
from shared.webhooks.schemas import read_webhook, webhook_json

PARTS: Final = ("common", "sessions")


class Sessions:
    """The sessions, each on one shard with the job of its frame. Safe to share between threads.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._shards = shards
        self._open = scripts.register(client, "session_open", beside=__package__)
        self._take = scripts.register(client, "session_take", beside=__package__, parts=PARTS)
        self._step = scripts.register(client, "session_step", beside=__package__, parts=PARTS)
        self._close = scripts.register(client, "session_close", beside=__package__, parts=PARTS)
        self._delete = scripts.register(client, "session_delete", beside=__package__, parts=PARTS)

    def open(self, new: NewSession, *, grant: Grant = ANYTHING) -> None:
        """Put a session on record; its time runs from now on.

        Raises:
            RequestError: `forbidden` or `unauthenticated`: the grant is void by now.
        """
        shard = shard_of(new.id)
        fields = {
            "id": new.id,
            "steps": " ".join(new.steps),
            "step_length": str(new.step_length.total_seconds()),
            "most_frames": str(new.most_frames),
            "ttl": str(max(1, round(new.result_ttl.total_seconds()))),
            "metadata": json.dumps(dict(new.metadata)),
            "memory": new.memory,
            "tenant": new.tenant,
            **({} if new.webhook is None else {"webhook": webhook_json(new.webhook)}),
        }
        with store_errors():
            answer = self._open(
                keys=[keys.session(shard, new.id)],
                args=[
                    keys.prefix(shard),
                    json.dumps(fields),
                    new.length.total_seconds(),
                    grant_json(grant, tenant=new.tenant),
                ],
            )
        refuse_where_void(answer)

    def read(self, session_id: str, *, tenant: str | None = None) -> Session | None:
        """The session, or None where the tenant has none of this id, or no more. Without a tenant: whosever it is."""
        shard = shard_of(session_id)
        if shard >= self._shards:
            return None
        with store_errors():
            fields = cast("dict[bytes, bytes]", self._client.hgetall(keys.session(shard, session_id)))
        session = read_session(fields) if fields else None
        return session if session is not None and tenant in {None, session.tenant} else None

    def take(self, session: Session, frame: FrameInWork, job: NewJob, *, limits: Limits) -> bool:
        """Queue the job of a frame. False if the frame was not taken: read the session again.

        One that comes when its step is over, or is one too many, ends the session. `frame.received_at` is not looked
        at: the ledger's clock says it.

        Raises:
            RequestError: `session_not_found`; `frame_in_work` where another frame is.
            UnavailableError: `queue_full`.
        """
        shard = shard_of(session.id)
        with store_errors():
            answer = self._take(
                keys=[keys.session(shard, session.id)],
                args=[
                    keys.prefix(shard),
                    session.id,
                    session.version,
                    new_job_json(job),
                    job.image,
                    frame.digest,
                    frame.sequence,
                    repr(frame.taken_at),
                    *limits.of_one(self._shards),
                ],
            )
        refuse_where_full(answer, limits.of_one(self._shards))
        if answer[0] == b"none":
            raise no_such_session()
        if answer[0] == b"busy":
            raise frame_in_work()
        return bool(answer[0] == b"taken")

    def step(self, session: Session, *, progress: str, memory: str, next_step: bool) -> bool:
        """Write what the frame in work came to, and erase its job; False where it no longer is the one in work.

        Args:
            session: as it was read, with its frame.
            progress: what has been shown so far.
            memory: what is remembered of faces.
            next_step: whether a step is over, and the next one's time begins.
        """
        return self._end_of_frame(session, [progress, memory, int(next_step), "", ""])

    def finish(self, session: Session, *, status: SessionStatus, reason: Reason | None, progress: str) -> bool:
        """End the session with what its frame in work came to; False where that no longer is the one in work."""
        return self._end_of_frame(session, [progress, "", 0, status.value, reason or ""])

    def _end_of_frame(self, session: Session, said: list[str | int]) -> bool:
        if session.frame is None:
            return False
        shard = shard_of(session.id)
        with store_errors():
            written = self._step(
                keys=[keys.session(shard, session.id)],
                args=[keys.prefix(shard), session.id, session.frame.job_id, *said, GRACE.total_seconds()],
            )
        return bool(written)

    def fail(self, session: Session, *, reason: Reason) -> bool:
        """End a session as failed; False where it has changed since it was read."""
        return self._closed(session.id, str(session.version), SessionStatus.FAILED, reason)

    def cancel(self, session_id: str) -> bool:
        """End a session, whatever is in work; False where it had ended."""
        return self._closed(session_id, "", SessionStatus.CANCELED, None)

    def _closed(self, session_id: str, version: str, status: SessionStatus, reason: Reason | None) -> bool:
        shard = shard_of(session_id)
        with store_errors():
            closed = self._close(
                keys=[keys.session(shard, session_id)],
                args=[keys.prefix(shard), session_id, version, status.value, reason or "", ""],
            )
        return bool(closed)

    def delete(self, session_id: str) -> bool:
        """Erase a session and its frame in work, now; False where there was none."""
        shard = shard_of(session_id)
        if shard >= self._shards:
            return False
        with store_errors():
            return bool(self._delete(keys=[keys.session(shard, session_id)], args=[keys.prefix(shard), session_id]))


def no_such_session() -> RequestError:
    """What is said of an id that no session has."""
    return RequestError(
        ErrorCode.SESSION_NOT_FOUND, "There is no liveness session with this id, or it has expired or was erased."
    )


def frame_in_work() -> RequestError:
    """What is said while a frame of the session is analysed."""
    return RequestError(
        ErrorCode.FRAME_IN_WORK, "A frame of this session is being analysed; send the next one when it is done."
    )


def read_session(raw: Mapping[bytes, bytes]) -> Session:
    """A session from its record."""
    found = {name.decode(): value.decode() for name, value in raw.items()}
    reason = found.get("reason")
    return Session(
        id=found["id"],
        status=SessionStatus(found["status"]),
        created_at=float(found["created_at"]),
        ends_at=float(found["ends_at"]),
        steps=tuple(map(Step, found["steps"].split())),
        step_length=float(found["step_length"]),
        most_frames=int(found["most_frames"]),
        tenant=found["tenant"],
        version=int(found["version"]),
        frames=int(found["frames"]),
        step_ends_at=_number(found, "step_ends_at"),
        metadata=json.loads(found["metadata"]),
        webhook=read_webhook(found["webhook"]) if "webhook" in found else None,
        progress=found.get("progress", ""),
        memory=found.get("memory", ""),
        frame=_frame(found) if "job" in found else None,
        reason=Reason(reason) if reason else None,
        finished_at=_number(found, "finished_at"),
        expires_at=_number(found, "expires_at"),
    )


def _frame(found: Mapping[str, Any]) -> FrameInWork:
    return FrameInWork(
        job_id=found["job"],
        digest=found["digest"],
        sequence=int(found["sequence"]),
        taken_at=float(found["taken_at"]),
        received_at=float(found["received_at"]),
    )


def _number(found: Mapping[str, str], name: str) -> float | None:
    return float(found[name]) if name in found else None
