"""The state machine of a liveness session: what one more frame makes of it, a pure function."""

from dataclasses import dataclass
from typing import Final

from api.liveness.challenge import Done, Hint, Memory, Progress, memory_of, progress_of
from api.liveness.movements import (
    CLOSER_FROM,
    LEAST_WIDTH,
    OPEN,
    SHUT,
    STRAIGHT,
    Anchor,
    Evidence,
    Look,
    flat,
    frontal,
    looked,
    said,
    shown,
    straight,
    wrong,
)
from api.liveness.replay_detection import Mark, Recollection, remember
from shared.faces import Face, cosine
from shared.liveness_sessions import FrameInWork, Reason, Session, SessionStatus, Step
from shared.results import FrameResult

STRIKES: Final[dict[Reason, int]] = {
    Reason.FLAT_FACE: 2,
    Reason.ANOTHER_PERSON: 2,
    Reason.NOT_LIVE: 3,
    Reason.NOT_THE_REFERENCE: 3,
    Reason.SEVERAL_FACES: 3,
    Reason.NOT_ANALYZED: 3,
    Reason.NOT_RECOGNISABLE: 20,
}
"""How many frames that say so end a session: one may be unlucky. None of them is ever taken for a step.

A face blurs while it moves, and light takes time to improve, so unrecognizable frames have longer: about seven seconds.
"""
FACELESS: Final = 5.0
"""Seconds without a face after which nobody can say that it is the same one."""
DRIFT: Final = 5.0
"""Seconds by which the client's clock and ours may come apart: beyond, a frame was not sent when it was taken."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a frame came to. `status` is set where the session has ended."""

    progress: Progress
    memory: Memory
    next_step: bool = False
    status: SessionStatus | None = None
    reason: Reason | None = None


READ: Final = frozenset({"live", "uncertain", "spoof"})
REJECTED: Final = {"too_small": Hint.TOO_FAR, "too_oblique": Hint.LOOK_STRAIGHT}
"""What a face that the passive model could not judge needs; where it is cut by the border, less of the picture."""


class _FailedError(Exception):
    """The session fails for this reason, by these numbers."""

    def __init__(self, reason: Reason, *evidence: Evidence) -> None:
        super().__init__(reason)
        self.reason = reason
        self.evidence = evidence


def judge(session: Session, result: FrameResult | None) -> Verdict:
    """What the frame in work makes of its session.

    Args:
        session: as it is, with its frame.
        result: what a worker saw in the frame; None where it could not be analysed.
    """
    assert session.frame is not None  # noqa: S101 - said above
    return _Judge(session, session.frame).verdict(result)


class _Judge:
    """One frame's judgement; every rule in the order in which they are asked."""

    def __init__(self, session: Session, frame: FrameInWork) -> None:
        self._session = session
        self._frame = frame
        self._progress = progress_of(session)
        self._memory = memory_of(session)
        self._step = session.steps[len(self._progress.done)]

    def verdict(self, result: FrameResult | None) -> Verdict:
        before = len(self._progress.done)
        try:
            self._keep_order()
            hint = self._look(result)
        except _FailedError as failed:
            progress = self._progress.model_copy(update={"hint": None, "refused": failed.evidence})
            return Verdict(progress, Memory(), status=SessionStatus.FAILED, reason=failed.reason)
        self._progress = self._progress.model_copy(update={"hint": hint})
        if len(self._progress.done) == len(self._session.steps):
            return Verdict(self._progress, Memory(), status=SessionStatus.PASSED)
        return Verdict(self._progress, self._memory, next_step=len(self._progress.done) > before)

    def _keep_order(self) -> None:
        """Both clocks go forward, and together."""
        frame = self._frame
        ahead = frame.received_at - frame.taken_at
        clocks = ahead if self._memory.clocks is None else self._memory.clocks
        drift = ahead - clocks
        if abs(drift) > DRIFT:
            raise _FailedError(
                Reason.LATE_FRAME if drift > 0 else Reason.OUT_OF_ORDER,
                Evidence(name="clock_drift", value=round(drift, 3), limit=f"-{DRIFT:g}..{DRIFT:g}", passed=False),
            )
        self._remember(
            clocks=clocks,
            sequence=frame.sequence,
            taken_at=frame.taken_at,
            digests=(*self._memory.digests, frame.digest),
        )

    def _look(self, result: FrameResult | None) -> Hint:
        if result is None:
            return self._strike(Reason.NOT_ANALYZED, Hint.NOT_READABLE)
        if result.face is None:
            return self._without_face(result.num_faces)
        self._forgive(Reason.SEVERAL_FACES, Reason.NOT_ANALYZED)
        self._remember(face_seen=self._frame.received_at)
        face = result.face
        if face.box[2] - face.box[0] < LEAST_WIDTH:
            return Hint.TOO_FAR
        self._keep_contract(face)
        self._refuse_replays(result, face)
        unusable = _unrecognisable(face)
        if unusable is not None:
            return self._strike(Reason.NOT_RECOGNISABLE, Hint.NOT_RECOGNISABLE, unusable)
        self._forgive(Reason.NOT_RECOGNISABLE)
        if self._memory.anchor is None:
            return self._first(result, face)
        return self._later(self._memory.anchor, result, face)

    def _keep_contract(self, face: Face) -> None:
        """Compare embeddings of one contract only: workers may run different models, or be replaced meanwhile."""
        if face.embedding is None:
            return
        if self._memory.contract not in {None, face.embedding.contract}:
            raise _FailedError(Reason.EMBEDDING_CONTRACT_MISMATCH)
        self._remember(contract=face.embedding.contract)

    def _without_face(self, faces: int) -> Hint:
        if faces:
            return self._strike(Reason.SEVERAL_FACES, Hint.SEVERAL_FACES, _most("faces", faces, 1))
        gone = self._frame.received_at - (self._memory.face_seen or self._frame.received_at)
        if self._memory.anchor is not None and gone > FACELESS:
            raise _FailedError(Reason.NO_FACE, _most("seconds_without_face", gone, FACELESS))
        return Hint.NO_FACE

    def _refuse_replays(self, result: FrameResult, face: Face) -> None:
        """Nothing that was shown before is shown again, and nothing stands still as no person can."""
        mark = Mark(
            picture=result.picture, points=face.landmarks, length=face.embedding.length if face.embedding else 0.0
        )
        said = remember(Recollection(self._memory.marks, self._memory.still), mark)
        if said.reason is not None:
            raise _FailedError(said.reason)
        self._remember(marks=said.marks, still=said.still)

    def _first(self, result: FrameResult, face: Face) -> Hint:
        """The anchor: straight, live, and where there is a reference, its person."""
        evidence = frontal(face)
        if not _passed(evidence):
            return Hint.LOOK_STRAIGHT
        closer = Step.COME_CLOSER in self._session.steps
        if closer and face.box[2] - face.box[0] > CLOSER_FROM * result.image.width:
            return Hint.TOO_CLOSE
        vector = face.embedding.vector if face.embedding else []
        live = self._live(face)
        if isinstance(live, Hint):
            return live
        reference = self._memory.reference
        if reference is not None:
            same = _similar(reference, vector, name="reference_similarity", threshold=result.match_threshold)
            if not same.passed:
                return self._strike(Reason.NOT_THE_REFERENCE, Hint.LOOK_STRAIGHT, same)
            live = (*live, same)
        yaw, pitch, _ = said(face)
        contract = face.embedding.contract if face.embedding else ""
        anchor = Anchor(vector=vector, contract=contract, points=face.landmarks, yaw=yaw, pitch=pitch)
        self._remember(anchor=anchor, reference=None)
        return self._done((*evidence, *live))

    def _later(self, anchor: Anchor, result: FrameResult, face: Face) -> Hint:
        vector = face.embedding.vector if face.embedding else []
        same = _similar(anchor.vector, vector, name="similarity", threshold=result.match_threshold)
        if not same.passed:
            return self._strike(Reason.ANOTHER_PERSON, Hint.LOOK_STRAIGHT, same)
        look = looked(anchor, face)
        if look is None:
            return Hint.LOOK_STRAIGHT
        sign = flat(look)
        if sign is not None:
            return self._strike(Reason.FLAT_FACE, Hint.GO_ON, sign)
        if _passed(straight(look)):
            self._remember(armed=True)
        return self._move(look, face, same) if self._memory.armed else Hint.LOOK_STRAIGHT

    def _move(self, look: Look, face: Face, same: Evidence) -> Hint:
        """The movement that is asked for, and no other."""
        other = wrong(self._step, look)
        if other is not None:
            raise _FailedError(Reason.WRONG_STEP, *shown(other, look))
        if self._step is Step.BLINK:
            return self._blink(look, same)
        evidence = shown(self._step, look)
        if not _passed(evidence):
            return Hint.LOOK_STRAIGHT if self._step is Step.LOOK_STRAIGHT else Hint.GO_ON
        if self._step is Step.LOOK_STRAIGHT:
            live = self._live(face)
            if isinstance(live, Hint):
                return live
            evidence = (*evidence, *live)
        return self._done((*evidence, same))

    def _blink(self, look: Look, same: Evidence) -> Hint:
        """Open, then shut, then open, while the face looks straight."""
        if look.eyes is None or abs(look.yaw or 0.0) > STRAIGHT:
            return Hint.LOOK_STRAIGHT
        if look.eyes >= OPEN:
            if self._memory.shut:
                opened = Evidence(name="eyes_open", value=round(look.eyes, 3), limit=f">= {OPEN:g}", passed=True)
                return self._done((opened, same))
            self._remember(opened=True)
        elif look.eyes <= SHUT and self._memory.opened:
            self._remember(shut=True)
        return Hint.GO_ON

    def _live(self, face: Face) -> tuple[Evidence, ...] | Hint:
        """The passive reading of a face that looks straight; a hint where it is not live."""
        reading = face.liveness
        if reading is None or reading.score is None or reading.threshold is None or reading.outcome not in READ:
            return REJECTED.get((reading and reading.reason) or "", Hint.TOO_CLOSE)
        passed = reading.outcome == "live"
        evidence = Evidence(
            name="liveness", value=round(reading.score, 3), limit=f">= {reading.threshold:g}", passed=passed
        )
        if reading.outcome == "spoof":
            return self._strike(Reason.NOT_LIVE, Hint.BETTER_LIGHT, evidence)
        return (evidence,) if passed else Hint.BETTER_LIGHT

    def _done(self, evidence: tuple[Evidence, ...]) -> Hint:
        frame = self._frame
        one = Done(step=self._step, at=frame.received_at, sequence=frame.sequence, evidence=evidence)
        # A movement leaves the face somewhere else: the next one begins once it looks straight again.
        self._remember(armed=self._step in {Step.LOOK_STRAIGHT, Step.BLINK}, opened=False, shut=False)
        self._progress = self._progress.model_copy(update={"done": (*self._progress.done, one)})
        return Hint.WELL_DONE

    def _strike(self, reason: Reason, hint: Hint, *evidence: Evidence) -> Hint:
        count = self._memory.strikes.get(reason, 0) + 1
        if count >= STRIKES[reason]:
            raise _FailedError(reason, *evidence)
        self._remember(strikes={**self._memory.strikes, reason: count})
        return hint

    def _forgive(self, *reasons: Reason) -> None:
        left = {reason: count for reason, count in self._memory.strikes.items() if reason not in reasons}
        self._remember(strikes=left)

    def _remember(self, **changed: object) -> None:
        self._memory = self._memory.model_copy(update=changed)


def _passed(evidence: tuple[Evidence, ...]) -> bool:
    return all(each.passed for each in evidence)


def _similar(one: list[float], other: list[float], *, name: str, threshold: float) -> Evidence:
    value = cosine(one, other) if one and len(one) == len(other) else None
    passed = value is not None and value > threshold
    return Evidence(
        name=name, value=None if value is None else round(value, 4), limit=f"> {threshold:g}", passed=passed
    )


def _unrecognisable(face: Face) -> Evidence | None:
    """Evidence that no comparison with this face proves anything, or None."""
    verdict = face.embedding.recognisability if face.embedding else None
    if verdict is None or verdict.recognisable:
        return None
    value = None if verdict.score is None else round(verdict.score, 3)
    return Evidence(name="recognisability", value=value, limit=f"not {', '.join(verdict.reasons)}", passed=False)


def _most(name: str, value: float, limit: float) -> Evidence:
    return Evidence(name=name, value=round(value, 3), limit=f"<= {limit:g}", passed=False)
