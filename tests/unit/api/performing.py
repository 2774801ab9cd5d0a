"""Someone answers the challenge of a liveness session, frame by frame, without a store."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from api.liveness.challenge import Memory, progress_of
from api.liveness.session_judge import judge
from shared.liveness_sessions import FrameInWork, Reason, Session, SessionStatus, Step
from shared.results import FrameResult
from tests.heads import Head, result

POSES: dict[Step, dict[str, float]] = {
    Step.LOOK_STRAIGHT: {},
    Step.TURN_LEFT: {"yaw": 35.0},
    Step.TURN_RIGHT: {"yaw": -35.0},
    Step.LOOK_UP: {"pitch": 25.0},
    Step.COME_CLOSER: {"distance": 5.0},
}


def session(*steps: Step, reference: list[float] | None = None, contract: str | None = None) -> Session:
    """A session that was opened just now."""
    return Session(
        id="live_" + "0" * 34,
        status=SessionStatus.RUNNING,
        created_at=0.0,
        ends_at=120.0,
        steps=(Step.LOOK_STRAIGHT, *steps, Step.LOOK_STRAIGHT),
        step_length=20.0,
        most_frames=200,
        memory=Memory(reference=reference, contract=contract).model_dump_json(),
    )


@dataclass
class Performance:
    """A session and its clock; every frame is one second after the one before."""

    session: Session
    now: float = 1000.0
    sequence: int = 0

    def show(self, seen: FrameResult | None, *, lag: float = 0.0) -> Session:
        """One more frame, analysed so; `lag` seconds late by the client's own clock."""
        assert self.session.status is SessionStatus.RUNNING, self.session
        self.now += 1.0
        self.sequence += 1
        frame = FrameInWork(
            job_id="job", digest=f"d{self.sequence}", sequence=self.sequence, taken_at=self.now - lag - 900.0,
            received_at=self.now,
        )  # fmt: skip
        verdict = judge(replace(self.session, frame=frame), seen)
        self.session = replace(
            self.session,
            progress=verdict.progress.model_dump_json(),
            memory=verdict.memory.model_dump_json() if verdict.status is None else "",
            status=verdict.status or SessionStatus.RUNNING,
            reason=verdict.reason,
        )
        return self.session

    def show_all(self, frames: Iterator[FrameResult]) -> Session:
        """Frames until they or the session end."""
        for seen in frames:
            if self.show(seen).status is not SessionStatus.RUNNING:
                break
        return self.session

    @property
    def shown(self) -> list[Step]:
        return [one.step for one in progress_of(self.session).done]


def honest(steps: tuple[Step, ...], head: Head, *, posed: bool = True) -> Iterator[FrameResult]:
    """What a willing person shows: each movement from a face that looks straight, and back."""
    for step in steps:
        for pose in _way(step):
            head = head.posed(across=head.seed % 5 / 20, **pose)
            yield result(head, posed=posed)


def _way(step: Step) -> Iterator[dict[str, float]]:
    rest = {"yaw": 0.0, "pitch": 0.0, "distance": 8.0, "eyes": 1.0}
    yield rest
    if step is Step.LOOK_STRAIGHT:
        return
    if step is Step.BLINK:
        yield {**rest, "eyes": 0.1}
    else:
        full = {**rest, **POSES[step]}
        yield {name: rest[name] + (full[name] - rest[name]) * 0.4 for name in rest}
        yield full
    yield rest


def ended(performance: Performance) -> tuple[SessionStatus, Reason | None]:
    """How it came out."""
    return performance.session.status, performance.session.reason
