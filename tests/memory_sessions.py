"""Liveness sessions in a dictionary, beside `tests/memory_ledger.py`."""

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.jobs import NewJob
from shared.ledger.admission import Limits
from shared.ledger.sessions.store import Sessions, frame_in_work, no_such_session
from shared.liveness_sessions import GRACE, FrameInWork, NewSession, Reason, Session, SessionStatus
from shared.tenants import ANYTHING, Grant

if TYPE_CHECKING:
    from tests.memory_ledger import MemoryLedger


class MemorySessions(Sessions):
    """Sessions in a dictionary. `told` notes the ends that the outbox would hold."""

    def __init__(self, ledger: "MemoryLedger") -> None:
        self._ledger = ledger
        self.kept: dict[str, Session] = {}
        self.news: dict[str, NewSession] = {}
        self.told: list[tuple[str, SessionStatus, Reason | None]] = []

    def open(self, new: NewSession, *, grant: Grant = ANYTHING) -> None:  # noqa: ARG002 - nothing is fenced here
        with self._ledger.lock:
            now = self._ledger.step()
            if new.id not in self.kept:
                self.news[new.id] = new
                self.kept[new.id] = Session(
                    id=new.id,
                    status=SessionStatus.RUNNING,
                    created_at=now,
                    ends_at=now + new.length.total_seconds(),
                    steps=new.steps,
                    step_length=new.step_length.total_seconds(),
                    most_frames=new.most_frames,
                    tenant=new.tenant,
                    metadata=dict(new.metadata),
                    webhook=new.webhook,
                    memory=new.memory,
                )

    def read(self, session_id: str, *, tenant: str | None = None) -> Session | None:
        with self._ledger.lock:
            self._ledger.step()
            held = self.kept.get(session_id)
            return held if held is not None and tenant in {None, held.tenant} else None

    def take(self, session: Session, frame: FrameInWork, job: NewJob, *, limits: Limits) -> bool:
        with self._ledger.lock:
            now = self._ledger.step()
            held = self.kept.get(session.id)
            if held is None:
                raise no_such_session()
            if held.status is not SessionStatus.RUNNING:
                return False
            if held.frame is not None:
                raise frame_in_work()
            if held.version != session.version:
                return False
            if held.ends_at <= now:
                self._end(held, SessionStatus.EXPIRED, Reason.SESSION_TIMEOUT)
                return False
            if held.step_ends_at is not None and held.step_ends_at <= now:
                self._end(held, SessionStatus.FAILED, Reason.LATE_FRAME)
                return False
            if held.frames >= held.most_frames:
                self._end(held, SessionStatus.FAILED, Reason.TOO_MANY_FRAMES)
                return False
            self._ledger.refuse_where_full(limits)
            self._ledger.admit(job)
            self.kept[held.id] = replace(
                held,
                frame=replace(frame, received_at=now),
                frames=held.frames + 1,
                version=held.version + 1,
                step_ends_at=held.step_ends_at or now + held.step_length,
            )
            return True

    def _in_work(self, session: Session) -> Session | None:
        held = self.kept.get(session.id)
        if held is None or held.frame is None or session.frame is None:
            return None
        return held if held.frame.job_id == session.frame.job_id else None

    def step(self, session: Session, *, progress: str, memory: str, next_step: bool) -> bool:
        with self._ledger.lock:
            now = self._ledger.step()
            held = self._in_work(session)
            if held is None or held.frame is None:
                return False
            self._ledger.delete(held.frame.job_id, tenant=held.tenant)
            self.kept[held.id] = replace(
                held,
                frame=None,
                progress=progress,
                memory=memory,
                version=held.version + 1,
                step_ends_at=now + held.step_length if next_step else held.step_ends_at,
            )
            return True

    def finish(self, session: Session, *, status: SessionStatus, reason: Reason | None, progress: str) -> bool:
        with self._ledger.lock:
            self._ledger.step()
            held = self._in_work(session)
            if held is None:
                return False
            self._end(held, status, reason, progress=progress)
            return True

    def fail(self, session: Session, *, reason: Reason) -> bool:
        with self._ledger.lock:
            self._ledger.step()
            held = self.kept.get(session.id)
            if held is None or held.status is not SessionStatus.RUNNING or held.version != session.version:
                return False
            self._end(held, SessionStatus.FAILED, reason)
            return True

    def cancel(self, session_id: str) -> bool:
        with self._ledger.lock:
            self._ledger.step()
            held = self.kept.get(session_id)
            if held is None or held.status is not SessionStatus.RUNNING:
                return False
            self._end(held, SessionStatus.CANCELED, None)
            return True

    def delete(self, session_id: str) -> bool:
        with self._ledger.lock:
            self._ledger.step()
            held = self.kept.pop(session_id, None)
            if held is None:
                return False
            if held.frame is not None:
                self._ledger.delete(held.frame.job_id, tenant=held.tenant)
            self._ledger.tell(session_id, None)
            return True

    def sweep(self) -> None:
        """What the ledger's sweep does with sessions."""
        with self._ledger.lock:
            now = self._ledger.step()
            for held in list(self.kept.values()):
                if held.status is not SessionStatus.RUNNING:
                    continue
                if held.ends_at <= now:
                    self._end(held, SessionStatus.EXPIRED, Reason.SESSION_TIMEOUT)
                elif held.frame is None and held.step_ends_at and held.step_ends_at + GRACE.total_seconds() <= now:
                    self._end(held, SessionStatus.FAILED, Reason.STEP_TIMEOUT)

    def _end(self, held: Session, status: SessionStatus, reason: Reason | None, *, progress: str = "") -> None:
        """Every end."""
        if held.frame is not None:
            self._ledger.delete(held.frame.job_id, tenant=held.tenant)
        self.kept[held.id] = replace(
            held,
            status=status,
            reason=reason,
            progress=progress or held.progress,
            memory="",
            frame=None,
            step_ends_at=None,
            version=held.version + 1,
            finished_at=self._ledger.now,
            expires_at=self._ledger.now + self.news[held.id].result_ttl.total_seconds(),
        )
        self.told.append((held.id, status, reason))
        self._ledger.tell(held.id, None)
