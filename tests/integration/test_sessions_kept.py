"""Liveness sessions in a real store: one record, one script per step, nothing of a face after the end."""

import time
from datetime import timedelta

import pytest

from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.jobs import JobFailure, NewJob, Priority, Status, new_job_id
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.jobs.listing import JobFilter
from shared.ledger.jobs.store import Outcome
from shared.ledger.stores import Stores
from shared.liveness_sessions import (
    FrameInWork,
    NewSession,
    Reason,
    Session,
    SessionStatus,
    Step,
    new_session_id,
)
from shared.operations import Operation
from shared.webhooks.schemas import EventType, Webhook
from tests.integration.servers import Server

FACE = '"a-face-that-must-vanish"'


def opened(stores: Stores, *, length: float = 60.0, step: float = 30.0, frames: int = 10) -> Session:
    new = NewSession(
        id=new_session_id(shard=0, now_ms=1),
        steps=(Step.LOOK_STRAIGHT, Step.TURN_LEFT, Step.LOOK_STRAIGHT),
        length=timedelta(seconds=length),
        step_length=timedelta(seconds=step),
        most_frames=frames,
        result_ttl=timedelta(hours=1),
        metadata={"case": 7},
        webhook=Webhook("https://example.org/hook", (EventType.SESSION_COMPLETED,)),
        memory=FACE,
    )
    stores.sessions.open(new)
    stores.sessions.open(new)  # submitted twice, it is one session
    return read(stores, new.id)


def read(stores: Stores, session_id: str) -> Session:
    found = stores.sessions.read(session_id)
    assert found is not None
    return found


def frame(number: int = 1) -> FrameInWork:
    return FrameInWork(
        job_id=new_job_id(shard=0, now_ms=1), digest=f"d{number}", sequence=number, taken_at=0.25, received_at=0.0
    )


def taken(stores: Stores, session: Session, one: FrameInWork, *, limits: Limits = Limits(100)) -> bool:  # noqa: B008
    job = NewJob(
        id=one.job_id,
        operation=Operation.DETECT,
        params={},
        result_ttl=timedelta(minutes=5),
        image=b"pixels-that-must-vanish",
        priority=Priority.HIGH,
        session=session.id,
    )
    return stores.sessions.take(session, one, job, limits=limits)


def everything(server: Server) -> bytes:
    """Everything in the store, as text."""
    with server.store.client() as client:
        held = b""
        for key in client.scan_iter("*"):
            held += client.dump(key) + key
        return held


def test_a_session_is_stored_as_it_was_opened(stores: Stores) -> None:
    session = opened(stores)
    assert (session.status, session.frames, session.version, session.frame) == (SessionStatus.RUNNING, 0, 0, None)
    assert session.steps == (Step.LOOK_STRAIGHT, Step.TURN_LEFT, Step.LOOK_STRAIGHT)
    assert session.ends_at - session.created_at == pytest.approx(60)
    assert session.step_ends_at is None
    assert (session.metadata, session.memory, session.tenant) == ({"case": 7}, FACE, "default")


def test_a_frame_is_an_unlisted_job_and_the_first_one_starts_the_clock(stores: Stores) -> None:
    session = opened(stores)
    one = frame()
    assert taken(stores, session, one)
    after = read(stores, session.id)
    assert after.frame is not None
    assert (after.frame.job_id, after.frame.digest, after.frame.taken_at) == (one.job_id, "d1", 0.25)
    assert (after.frames, after.version) == (1, 1)
    assert after.step_ends_at is not None
    claim = stores.jobs.claim("w")
    assert claim is not None
    assert (claim.job.id, claim.image) == (one.job_id, b"pixels-that-must-vanish")


def test_a_session_accepts_one_frame_at_a_time_and_only_if_unchanged(stores: Stores) -> None:
    session = opened(stores)
    assert taken(stores, session, frame())
    with pytest.raises(RequestError) as refused:
        taken(stores, session, frame(2))
    assert refused.value.code is ErrorCode.FRAME_IN_WORK
    assert stores.sessions.step(read(stores, session.id), progress="1", memory="2", next_step=False)
    assert not taken(stores, session, frame(3)), "it has changed since"
    assert taken(stores, read(stores, session.id), frame(4))


def test_a_full_queue_accepts_no_frame_and_leaves_the_session_unchanged(stores: Stores) -> None:
    session = opened(stores)
    name = new_job_id(shard=0, now_ms=1)
    other = NewJob(id=name, operation=Operation.DETECT, params={}, result_ttl=timedelta(1))
    stores.jobs.accept(other, limits=Limits(10))
    with pytest.raises(UnavailableError):
        taken(stores, session, frame(), limits=Limits(1))
    assert read(stores, session.id) == session


def test_a_step_is_written_once_and_erases_the_job_of_its_frame(stores: Stores, ledger_server: Server) -> None:
    session = opened(stores)
    one = frame()
    taken(stores, session, one)
    claim = stores.jobs.claim("w")
    assert claim is not None
    assert stores.jobs.finish(one.job_id, claim.token, Outcome(result={"kind": "secret-result"}))
    assert b"pixels-that-must-vanish" not in everything(ledger_server)
    held = read(stores, session.id)
    assert stores.sessions.step(held, progress='"p"', memory='"m"', next_step=True)
    assert not stores.sessions.step(held, progress="no", memory="no", next_step=True), "another call was faster"
    after = read(stores, session.id)
    assert (after.progress, after.memory, after.frame) == ('"p"', '"m"', None)
    assert stores.jobs.read(one.job_id) is None
    assert b"secret-result" not in everything(ledger_server)
    assert stores.listing.page(JobFilter(), limit=10).jobs == []


def test_the_job_of_a_frame_notifies_nobody_and_keeps_no_image(stores: Stores, ledger_server: Server) -> None:
    session = opened(stores)
    one = frame()
    taken(stores, session, one)
    claim = stores.jobs.claim("w")
    assert claim is not None
    crashed = JobFailure(ErrorCode.INTERNAL_ERROR, "It crashed.", retryable=True)
    assert stores.jobs.finish(one.job_id, claim.token, Outcome(failure=crashed))
    assert b"pixels-that-must-vanish" not in everything(ledger_server)
    assert stores.deliveries.rows(0, most=10) == []


@pytest.mark.parametrize("status", [SessionStatus.PASSED, SessionStatus.FAILED])
def test_a_session_ends_once_notifies_once_and_keeps_no_face_data(
    stores: Stores, ledger_server: Server, status: SessionStatus
) -> None:
    session = opened(stores)
    taken(stores, session, frame())
    held = read(stores, session.id)
    reason = Reason.FLAT_FACE if status is SessionStatus.FAILED else None
    assert stores.sessions.finish(held, status=status, reason=reason, progress='"shown"')
    assert not stores.sessions.finish(held, status=SessionStatus.PASSED, reason=None, progress="")
    assert not stores.sessions.cancel(session.id)
    after = read(stores, session.id)
    assert (after.status, after.reason, after.progress, after.memory) == (status, reason, '"shown"', "")
    assert after.expires_at is not None
    assert after.finished_at is not None
    assert after.expires_at - after.finished_at == pytest.approx(3600)
    assert b"must-vanish" not in everything(ledger_server)
    (row,) = stores.deliveries.rows(0, most=10)
    assert (row.event.type, row.event.subject) == (EventType.SESSION_COMPLETED, session.id)
    assert (row.event.status, row.event.code) == (status, reason)
    with ledger_server.store.client() as client:
        assert client.ttl(keys.session(0, session.id)) > 0


def test_a_frame_after_the_time_of_its_step_ends_the_session_as_late(stores: Stores) -> None:
    session = opened(stores, step=0.05)
    taken(stores, session, frame())
    stores.sessions.step(read(stores, session.id), progress="", memory="", next_step=False)
    time.sleep(0.1)
    assert not taken(stores, read(stores, session.id), frame(2))
    after = read(stores, session.id)
    assert (after.status, after.reason) == (SessionStatus.FAILED, Reason.LATE_FRAME)


def test_one_frame_too_many_ends_the_session(stores: Stores) -> None:
    session = opened(stores, frames=1)
    taken(stores, session, frame())
    stores.sessions.step(read(stores, session.id), progress="", memory="", next_step=False)
    assert not taken(stores, read(stores, session.id), frame(2))
    assert read(stores, session.id).reason is Reason.TOO_MANY_FRAMES


def test_the_sweep_ends_overdue_sessions_except_with_a_frame_in_progress(stores: Stores) -> None:
    idle = opened(stores, length=0.05)
    slow = opened(stores, step=0.05)
    waits = opened(stores, step=0.05)
    taken(stores, slow, frame())
    taken(stores, waits, frame())
    stores.sessions.step(read(stores, slow.id), progress="", memory="", next_step=False)
    time.sleep(0.1)
    stores.jobs.reap(max_attempts=3)
    ended = read(stores, idle.id)
    assert (ended.status, ended.reason, ended.memory) == (SessionStatus.EXPIRED, Reason.SESSION_TIMEOUT, "")
    assert read(stores, slow.id).status is SessionStatus.RUNNING, "a late frame may still come to be told so"
    time.sleep(2.1)
    stores.jobs.reap(max_attempts=3)
    ended = read(stores, slow.id)
    assert (ended.status, ended.reason) == (SessionStatus.FAILED, Reason.STEP_TIMEOUT)
    assert read(stores, waits.id).status is SessionStatus.RUNNING


def test_a_session_whose_frame_never_finishes_expires_with_it(stores: Stores) -> None:
    session = opened(stores, length=0.05)
    one = frame()
    taken(stores, session, one)
    stores.jobs.claim("w")
    time.sleep(0.1)
    stores.jobs.reap(max_attempts=3)
    assert read(stores, session.id).status is SessionStatus.EXPIRED
    assert stores.jobs.read(one.job_id) is None


def test_cancel_and_delete_remove_the_frame_in_progress(stores: Stores, ledger_server: Server) -> None:
    canceled, deleted = opened(stores), opened(stores)
    one, other = frame(), frame()
    taken(stores, canceled, one)
    taken(stores, deleted, other)
    assert b"face-that-must-vanish" in everything(ledger_server)
    assert b"pixels-that-must-vanish" in everything(ledger_server)
    assert stores.sessions.cancel(canceled.id)
    assert read(stores, canceled.id).status is SessionStatus.CANCELED
    assert stores.sessions.delete(deleted.id)
    assert not stores.sessions.delete(deleted.id)
    assert stores.sessions.read(deleted.id) is None
    assert stores.jobs.read(one.job_id) is None
    assert stores.jobs.read(other.job_id) is None
    assert deleted.id.encode() not in everything(ledger_server)
    assert b"must-vanish" not in everything(ledger_server)
    assert [row.event.status for row in stores.deliveries.rows(0, most=10)] == ["canceled"]


def test_waiting_clients_learn_that_the_session_ended(stores: Stores) -> None:
    running, ended = opened(stores), opened(stores)
    taken(stores, ended, frame())
    stores.sessions.finish(read(stores, ended.id), status=SessionStatus.PASSED, reason=None, progress="")
    assert stores.jobs.statuses([running.id, ended.id]) == [Status.RUNNING, None]


def test_a_session_id_of_an_unknown_shard_is_not_found(stores: Stores) -> None:
    elsewhere = new_session_id(shard=9, now_ms=1)
    assert stores.sessions.read(elsewhere) is None
    assert not stores.sessions.delete(elsewhere)
