"""Liveness sessions in a real store: one record, one step each, nothing of a face beyond the end."""

import time
from datetime import timedelta

import pytest

from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.jobs import JobFailure, NewJob, Priority, Status, new_job_id
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
from shared.storage import keys
from shared.storage.admission import Limits
from shared.storage.ledger import Ledger, Outcome
from shared.storage.listing import JobFilter
from shared.webhooks import EventType
from tests.integration.servers import Server

FACE = '"a-face-that-must-vanish"'


def opened(ledger: Ledger, *, length: float = 60.0, step: float = 30.0, frames: int = 10) -> Session:
    new = NewSession(
        id=new_session_id(shard=0, now_ms=1),
        steps=(Step.LOOK_STRAIGHT, Step.TURN_LEFT, Step.LOOK_STRAIGHT),
        length=timedelta(seconds=length),
        step_length=timedelta(seconds=step),
        most_frames=frames,
        result_ttl=timedelta(hours=1),
        metadata={"case": 7},
        webhook={"url": "https://example.org/hook", "events": ["liveness_session.completed"]},
        memory=FACE,
    )
    ledger.sessions.open(new)
    ledger.sessions.open(new)  # said twice, it is one
    return read(ledger, new.id)


def read(ledger: Ledger, session_id: str) -> Session:
    found = ledger.sessions.read(session_id)
    assert found is not None
    return found


def frame(number: int = 1) -> FrameInWork:
    return FrameInWork(
        job_id=new_job_id(shard=0, now_ms=1), digest=f"d{number}", sequence=number, taken_at=0.25, received_at=0.0
    )


def taken(ledger: Ledger, session: Session, one: FrameInWork, *, limits: Limits = Limits(100)) -> bool:  # noqa: B008
    job = NewJob(
        id=one.job_id,
        operation=Operation.DETECT,
        params={},
        result_ttl=timedelta(minutes=5),
        image=b"pixels-that-must-vanish",
        priority=Priority.HIGH,
        session=session.id,
    )
    return ledger.sessions.take(session, one, job, limits=limits)


def everything(server: Server) -> bytes:
    """All that the store holds, as text."""
    with server.store.client() as client:
        held = b""
        for key in client.scan_iter("*"):
            held += client.dump(key) + key
        return held


def test_a_session_is_kept_as_it_was_opened(ledger: Ledger) -> None:
    session = opened(ledger)
    assert (session.status, session.frames, session.version, session.frame) == (SessionStatus.RUNNING, 0, 0, None)
    assert session.steps == (Step.LOOK_STRAIGHT, Step.TURN_LEFT, Step.LOOK_STRAIGHT)
    assert session.ends_at - session.created_at == pytest.approx(60)
    assert session.step_ends_at is None
    assert (session.metadata, session.memory, session.tenant) == ({"case": 7}, FACE, "default")


def test_a_frame_is_a_job_that_no_list_shows_and_the_first_one_starts_the_clock(ledger: Ledger) -> None:
    session = opened(ledger)
    one = frame()
    assert taken(ledger, session, one)
    after = read(ledger, session.id)
    assert after.frame is not None
    assert (after.frame.job_id, after.frame.digest, after.frame.taken_at) == (one.job_id, "d1", 0.25)
    assert (after.frames, after.version) == (1, 1)
    assert after.step_ends_at is not None
    claim = ledger.claim("w")
    assert claim is not None
    assert (claim.job.id, claim.image) == (one.job_id, b"pixels-that-must-vanish")


def test_only_one_frame_is_in_work_and_only_the_session_that_was_read_takes_one(ledger: Ledger) -> None:
    session = opened(ledger)
    assert taken(ledger, session, frame())
    with pytest.raises(RequestError) as refused:
        taken(ledger, session, frame(2))
    assert refused.value.code is ErrorCode.FRAME_IN_WORK
    assert ledger.sessions.step(read(ledger, session.id), progress="1", memory="2", next_step=False)
    assert not taken(ledger, session, frame(3)), "it has changed since"
    assert taken(ledger, read(ledger, session.id), frame(4))


def test_a_full_queue_takes_no_frame_and_leaves_the_session_as_it_is(ledger: Ledger) -> None:
    session = opened(ledger)
    ledger.accept(NewJob(new_job_id(shard=0, now_ms=1), Operation.DETECT, {}, timedelta(1)), limits=Limits(10))
    with pytest.raises(UnavailableError):
        taken(ledger, session, frame(), limits=Limits(1))
    assert read(ledger, session.id) == session


def test_a_step_is_written_once_and_erases_the_job_of_its_frame(ledger: Ledger, ledger_server: Server) -> None:
    session = opened(ledger)
    one = frame()
    taken(ledger, session, one)
    claim = ledger.claim("w")
    assert claim is not None
    assert ledger.finish(one.job_id, claim.token, Outcome(result={"kind": "secret-result"}))
    assert b"pixels-that-must-vanish" not in everything(ledger_server)
    held = read(ledger, session.id)
    assert ledger.sessions.step(held, progress='"p"', memory='"m"', next_step=True)
    assert not ledger.sessions.step(held, progress="no", memory="no", next_step=True), "somebody was faster"
    after = read(ledger, session.id)
    assert (after.progress, after.memory, after.frame) == ('"p"', '"m"', None)
    assert ledger.read(one.job_id) is None
    assert b"secret-result" not in everything(ledger_server)
    assert ledger.listing.page(JobFilter(), limit=10).jobs == []


def test_the_job_of_a_frame_tells_nobody_and_keeps_no_image_for_a_retry(ledger: Ledger, ledger_server: Server) -> None:
    session = opened(ledger)
    one = frame()
    taken(ledger, session, one)
    claim = ledger.claim("w")
    assert claim is not None
    crashed = JobFailure(ErrorCode.INTERNAL_ERROR, "It crashed.", retryable=True)
    assert ledger.finish(one.job_id, claim.token, Outcome(failure=crashed))
    assert b"pixels-that-must-vanish" not in everything(ledger_server)
    assert ledger.deliveries.rows(0, most=10) == []


@pytest.mark.parametrize("status", [SessionStatus.PASSED, SessionStatus.FAILED])
def test_an_end_is_written_once_told_once_and_leaves_nothing_of_a_face(
    ledger: Ledger, ledger_server: Server, status: SessionStatus
) -> None:
    session = opened(ledger)
    taken(ledger, session, frame())
    held = read(ledger, session.id)
    reason = Reason.FLAT_FACE if status is SessionStatus.FAILED else None
    assert ledger.sessions.finish(held, status=status, reason=reason, progress='"shown"')
    assert not ledger.sessions.finish(held, status=SessionStatus.PASSED, reason=None, progress="")
    assert not ledger.sessions.cancel(session.id)
    after = read(ledger, session.id)
    assert (after.status, after.reason, after.progress, after.memory) == (status, reason, '"shown"', "")
    assert after.expires_at is not None
    assert after.finished_at is not None
    assert after.expires_at - after.finished_at == pytest.approx(3600)
    assert b"must-vanish" not in everything(ledger_server)
    (row,) = ledger.deliveries.rows(0, most=10)
    assert (row.event.type, row.event.subject) == (EventType.SESSION_COMPLETED, session.id)
    assert (row.event.status, row.event.code) == (status, reason)
    with ledger_server.store.client() as client:
        assert client.ttl(keys.session(0, session.id)) > 0


def test_a_frame_that_comes_when_its_step_is_over_ends_the_session_as_late(ledger: Ledger) -> None:
    session = opened(ledger, step=0.05)
    taken(ledger, session, frame())
    ledger.sessions.step(read(ledger, session.id), progress="", memory="", next_step=False)
    time.sleep(0.1)
    assert not taken(ledger, read(ledger, session.id), frame(2))
    after = read(ledger, session.id)
    assert (after.status, after.reason) == (SessionStatus.FAILED, Reason.LATE_FRAME)


def test_a_frame_too_many_ends_the_session(ledger: Ledger) -> None:
    session = opened(ledger, frames=1)
    taken(ledger, session, frame())
    ledger.sessions.step(read(ledger, session.id), progress="", memory="", next_step=False)
    assert not taken(ledger, read(ledger, session.id), frame(2))
    assert read(ledger, session.id).reason is Reason.TOO_MANY_FRAMES


def test_the_sweep_ends_what_ran_out_of_time_but_never_a_step_whose_frame_is_in_work(ledger: Ledger) -> None:
    idle = opened(ledger, length=0.05)
    slow = opened(ledger, step=0.05)
    waits = opened(ledger, step=0.05)
    taken(ledger, slow, frame())
    taken(ledger, waits, frame())
    ledger.sessions.step(read(ledger, slow.id), progress="", memory="", next_step=False)
    time.sleep(0.1)
    ledger.reap(max_attempts=3)
    ended = read(ledger, idle.id)
    assert (ended.status, ended.reason, ended.memory) == (SessionStatus.EXPIRED, Reason.SESSION_TIMEOUT, "")
    assert read(ledger, slow.id).status is SessionStatus.RUNNING, "a late frame may still come to be told so"
    time.sleep(2.1)
    ledger.reap(max_attempts=3)
    ended = read(ledger, slow.id)
    assert (ended.status, ended.reason) == (SessionStatus.FAILED, Reason.STEP_TIMEOUT)
    assert read(ledger, waits.id).status is SessionStatus.RUNNING


def test_a_session_that_waits_for_its_frame_beyond_its_time_expires_with_it(ledger: Ledger) -> None:
    session = opened(ledger, length=0.05)
    one = frame()
    taken(ledger, session, one)
    ledger.claim("w")
    time.sleep(0.1)
    ledger.reap(max_attempts=3)
    assert read(ledger, session.id).status is SessionStatus.EXPIRED
    assert ledger.read(one.job_id) is None


def test_cancel_and_delete_take_the_frame_in_work_with_them(ledger: Ledger, ledger_server: Server) -> None:
    canceled, deleted = opened(ledger), opened(ledger)
    one, other = frame(), frame()
    taken(ledger, canceled, one)
    taken(ledger, deleted, other)
    assert b"face-that-must-vanish" in everything(ledger_server)
    assert b"pixels-that-must-vanish" in everything(ledger_server)
    assert ledger.sessions.cancel(canceled.id)
    assert read(ledger, canceled.id).status is SessionStatus.CANCELED
    assert ledger.sessions.delete(deleted.id)
    assert not ledger.sessions.delete(deleted.id)
    assert ledger.sessions.read(deleted.id) is None
    assert ledger.read(one.job_id) is None
    assert ledger.read(other.job_id) is None
    assert deleted.id.encode() not in everything(ledger_server)
    assert b"must-vanish" not in everything(ledger_server)
    assert [row.event.status for row in ledger.deliveries.rows(0, most=10)] == ["canceled"]


def test_whoever_waits_hears_of_the_end(ledger: Ledger) -> None:
    running, ended = opened(ledger), opened(ledger)
    taken(ledger, ended, frame())
    ledger.sessions.finish(read(ledger, ended.id), status=SessionStatus.PASSED, reason=None, progress="")
    assert ledger.statuses([running.id, ended.id]) == [Status.RUNNING, None]


def test_a_session_of_a_shard_that_is_not_there_is_none(ledger: Ledger) -> None:
    elsewhere = new_session_id(shard=9, now_ms=1)
    assert ledger.sessions.read(elsewhere) is None
    assert not ledger.sessions.delete(elsewhere)
