"""The store of liveness sessions: one record per session, changed by one script for each step."""

import json
from collections.abc import Mapping
from typing import Any, Final, cast

import redis

from shared.errors import ErrorCode, RequestError
from shared.jobs import NewJob, shard_of
from shared.ledger import keys, scripts
from shared.ledger.admission import Limits, grant_json, refuse_if_full, refuse_if_void
from shared.ledger.connection import store_errors
from shared.ledger.jobs.records import new_job_json
from shared.liveness_sessions import GRACE, FrameInWork, NewSession, Reason, Session, SessionStatus, Step
from shared.tenants import ANYTHING, Grant
from shared.webhooks.schemas import read_webhook, webhook_json

PARTS: Final = ("common", "sessions")


class Sessions:
    """The store of sessions. A session and the job of its frame are on one shard. Thread-safe.

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
        """Store a session and start its time.

        Raises:
            RequestError: `forbidden` or `unauthenticated`: the caller's grant is void.
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
            reply = self._open(
                keys=[keys.session(shard, new.id)],
                args=[
                    keys.prefix(shard),
                    json.dumps(fields),
                    new.length.total_seconds(),
                    grant_json(grant, tenant=new.tenant),
                ],
            )
        refuse_if_void(reply)

    def read(self, session_id: str, *, tenant: str | None = None) -> Session | None:
        """Return the session, or None if it does not exist or belongs to another tenant than the given one."""
        shard = shard_of(session_id)
        if shard >= self._shards:
            return None
        with store_errors():
            fields = cast("dict[bytes, bytes]", self._client.hgetall(keys.session(shard, session_id)))
        session = read_session(fields) if fields else None
        return session if session is not None and tenant in {None, session.tenant} else None

    def take(self, session: Session, frame: FrameInWork, job: NewJob, *, limits: Limits) -> bool:
        """Queue the job of a frame. Return False if the frame was not accepted: read the session again.

        A frame that arrives after its step has timed out, or exceeds the limit, ends the session. `frame.received_at`
        is ignored; the ledger's clock sets it.

        Raises:
            RequestError: `session_not_record`; `frame_in_work` if another frame is being analyzed.
            UnavailableError: `queue_full`.
        """
        shard = shard_of(session.id)
        with store_errors():
            reply = self._take(
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
        refuse_if_full(reply, limits.of_one(self._shards))
        if reply[0] == b"none":
            raise no_such_session()
        if reply[0] == b"busy":
            raise frame_in_work()
        return bool(reply[0] == b"taken")

    def step(self, session: Session, *, progress: str, memory: str, next_step: bool) -> bool:
        """Store the outcome of the current frame and erase its job. Return False if it is no longer the current frame.

        Args:
            session: the session as it was read, with its frame.
            progress: what the person has shown so far.
            memory: face data needed for the next frames.
            next_step: whether the step is complete, so that the time of the next one starts.
        """
        return self._end_of_frame(session, [progress, memory, int(next_step), "", ""])

    def finish(self, session: Session, *, status: SessionStatus, reason: Reason | None, progress: str) -> bool:
        """End the session with the outcome of its current frame. Return False if it is no longer the current frame."""
        return self._end_of_frame(session, [progress, "", 0, status.value, reason or ""])

    def _end_of_frame(self, session: Session, outcome: list[str | int]) -> bool:
        if session.frame is None:
            return False
        shard = shard_of(session.id)
        with store_errors():
            written = self._step(
                keys=[keys.session(shard, session.id)],
                args=[keys.prefix(shard), session.id, session.frame.job_id, *outcome, GRACE.total_seconds()],
            )
        return bool(written)

    def fail(self, session: Session, *, reason: Reason) -> bool:
        """End a session as failed. Return False if it has changed since it was read."""
        return self._end_session(session.id, str(session.version), SessionStatus.FAILED, reason)

    def cancel(self, session_id: str) -> bool:
        """Cancel a session. Return False if it has already ended."""
        return self._end_session(session_id, "", SessionStatus.CANCELED, None)

    def _end_session(self, session_id: str, version: str, status: SessionStatus, reason: Reason | None) -> bool:
        shard = shard_of(session_id)
        with store_errors():
            ended = self._close(
                keys=[keys.session(shard, session_id)],
                args=[keys.prefix(shard), session_id, version, status.value, reason or "", ""],
            )
        return bool(ended)

    def delete(self, session_id: str) -> bool:
        """Erase a session and its current frame. Return False if the session does not exist."""
        shard = shard_of(session_id)
        if shard >= self._shards:
            return False
        with store_errors():
            return bool(self._delete(keys=[keys.session(shard, session_id)], args=[keys.prefix(shard), session_id]))


def no_such_session() -> RequestError:
    """Return the error for an unknown session id."""
    return RequestError(
        ErrorCode.SESSION_NOT_FOUND, "No liveness session with this id exists. It may have expired or been erased."
    )


def frame_in_work() -> RequestError:
    """Return the error for a frame that arrives while another one is being analyzed."""
    return RequestError(
        ErrorCode.FRAME_IN_WORK, "A frame of this session is being analyzed. Send the next frame when it is done."
    )


def read_session(raw: Mapping[bytes, bytes]) -> Session:
    """Decode the record of a session."""
    record = {name.decode(): value.decode() for name, value in raw.items()}
    reason = record.get("reason")
    return Session(
        id=record["id"],
        status=SessionStatus(record["status"]),
        created_at=float(record["created_at"]),
        ends_at=float(record["ends_at"]),
        steps=tuple(map(Step, record["steps"].split())),
        step_length=float(record["step_length"]),
        most_frames=int(record["most_frames"]),
        tenant=record["tenant"],
        version=int(record["version"]),
        frames=int(record["frames"]),
        step_ends_at=_number(record, "step_ends_at"),
        metadata=json.loads(record["metadata"]),
        webhook=read_webhook(record["webhook"]) if "webhook" in record else None,
        progress=record.get("progress", ""),
        memory=record.get("memory", ""),
        frame=_frame(record) if "job" in record else None,
        reason=Reason(reason) if reason else None,
        finished_at=_number(record, "finished_at"),
        expires_at=_number(record, "expires_at"),
    )


def _frame(record: Mapping[str, Any]) -> FrameInWork:
    return FrameInWork(
        job_id=record["job"],
        digest=record["digest"],
        sequence=int(record["sequence"]),
        taken_at=float(record["taken_at"]),
        received_at=float(record["received_at"]),
    )


def _number(record: Mapping[str, str], name: str) -> float | None:
    return float(record[name]) if name in record else None
