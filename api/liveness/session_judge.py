"""The state machine of a liveness session: a pure function from session and frame to verdict."""

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
    all_passed,
    compare,
    evidence_of,
    flatness,
    frontal,
    pose_and_eyes,
    straight,
    wrong_movement,
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
"""Number of such frames that ends a session. A single frame may be unlucky. None of them completes a step.

A face blurs while it moves, and better light takes time, so unrecognizable frames get more: about seven seconds.
"""
FACELESS: Final = 5.0
"""Seconds without a face after which it can no longer be assumed to be the same one."""
DRIFT: Final = 5.0
"""Allowed drift in seconds between the client's clock and ours. Beyond it, a frame was not sent when it was taken."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a frame. `status` is set if the session has ended."""

    progress: Progress
    memory: Memory
    next_step: bool = False
    status: SessionStatus | None = None
    reason: Reason | None = None


READ: Final = frozenset({"live", "uncertain", "spoof"})
REJECTED: Final = {"too_small": Hint.TOO_FAR, "too_oblique": Hint.LOOK_STRAIGHT}
"""The hint for a face that the passive model could not judge. Other causes, such as a cut-off face: `too_close`."""


class _FailedError(Exception):
    """The session fails for this reason, with this evidence."""

    def __init__(self, reason: Reason, *evidence: Evidence) -> None:
        super().__init__(reason)
        self.reason = reason
        self.evidence = evidence


def judge(session: Session, result: FrameResult | None) -> Verdict:
    """Judge the frame that is being analyzed.

    Args:
        session: the current session with its frame.
        result: the analysis of the frame; None if the analysis failed.
    """
    assert session.frame is not None  # noqa: S101 - guaranteed by the caller
    return _Judge(session, session.frame).verdict(result)


class _Judge:
    """Judges one frame. The rules are in the order in which they apply."""

    def __init__(self, session: Session, frame: FrameInWork) -> None:
        self._session = session
        self._frame = frame
        self._progress = progress_of(session)
        self._memory = memory_of(session)
        self._step = session.steps[len(self._progress.done)]

    def verdict(self, result: FrameResult | None) -> Verdict:
        steps_before = len(self._progress.done)
        try:
            self._check_clocks()
            hint = self._look(result)
        except _FailedError as failed:
            progress = self._progress.model_copy(update={"hint": None, "refused": failed.evidence})
            return Verdict(progress, Memory(), status=SessionStatus.FAILED, reason=failed.reason)
        self._progress = self._progress.model_copy(update={"hint": hint})
        if len(self._progress.done) == len(self._session.steps):
            return Verdict(self._progress, Memory(), status=SessionStatus.PASSED)
        return Verdict(self._progress, self._memory, next_step=len(self._progress.done) > steps_before)

    def _check_clocks(self) -> None:
        """Check that the client's clock and ours advance together."""
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
            return self._no_single_face(result.num_faces)
        self._forgive(Reason.SEVERAL_FACES, Reason.NOT_ANALYZED)
        self._remember(face_seen=self._frame.received_at)
        face = result.face
        if face.box[2] - face.box[0] < LEAST_WIDTH:
            return Hint.TOO_FAR
        self._check_contract(face)
        self._check_replay(result, face)
        unusable = _unrecognisable(face)
        if unusable is not None:
            return self._strike(Reason.NOT_RECOGNISABLE, Hint.NOT_RECOGNISABLE, unusable)
        self._forgive(Reason.NOT_RECOGNISABLE)
        if self._memory.anchor is None:
            return self._first(result, face)
        return self._later(self._memory.anchor, result, face)

    def _check_contract(self, face: Face) -> None:
        """Reject a change of the embedding contract, which happens if workers run different models or are replaced."""
        if face.embedding is None:
            return
        if self._memory.contract not in {None, face.embedding.contract}:
            raise _FailedError(Reason.EMBEDDING_CONTRACT_MISMATCH)
        self._remember(contract=face.embedding.contract)

    def _no_single_face(self, faces: int) -> Hint:
        if faces:
            return self._strike(Reason.SEVERAL_FACES, Hint.SEVERAL_FACES, _exceeded("faces", faces, 1))
        gone = self._frame.received_at - (self._memory.face_seen or self._frame.received_at)
        if self._memory.anchor is not None and gone > FACELESS:
            raise _FailedError(Reason.NO_FACE, _exceeded("seconds_without_face", gone, FACELESS))
        return Hint.NO_FACE

    def _check_replay(self, result: FrameResult, face: Face) -> None:
        """Reject images that were shown before, and images that are too still to be live."""
        mark = Mark(
            picture=result.picture, points=face.landmarks, length=face.embedding.length if face.embedding else 0.0
        )
        recollection = remember(Recollection(self._memory.marks, self._memory.still), mark)
        if recollection.reason is not None:
            raise _FailedError(recollection.reason)
        self._remember(marks=recollection.marks, still=recollection.still)

    def _first(self, result: FrameResult, face: Face) -> Hint:
        """Accept the anchor: the face is straight, live, and that of the reference if there is one."""
        evidence = frontal(face)
        if not all_passed(evidence):
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
        yaw, pitch, _ = pose_and_eyes(face)
        contract = face.embedding.contract if face.embedding else ""
        anchor = Anchor(vector=vector, contract=contract, points=face.landmarks, yaw=yaw, pitch=pitch)
        self._remember(anchor=anchor, reference=None)
        return self._done((*evidence, *live))

    def _later(self, anchor: Anchor, result: FrameResult, face: Face) -> Hint:
        vector = face.embedding.vector if face.embedding else []
        same = _similar(anchor.vector, vector, name="similarity", threshold=result.match_threshold)
        if not same.passed:
            return self._strike(Reason.ANOTHER_PERSON, Hint.LOOK_STRAIGHT, same)
        look = compare(anchor, face)
        if look is None:
            return Hint.LOOK_STRAIGHT
        parallax = flatness(look)
        if parallax is not None:
            return self._strike(Reason.FLAT_FACE, Hint.GO_ON, parallax)
        if all_passed(straight(look)):
            self._remember(armed=True)
        return self._move(look, face, same) if self._memory.armed else Hint.LOOK_STRAIGHT

    def _move(self, look: Look, face: Face, same: Evidence) -> Hint:
        """Judge the requested movement; any other movement fails the session."""
        other = wrong_movement(self._step, look)
        if other is not None:
            raise _FailedError(Reason.WRONG_STEP, *evidence_of(other, look))
        if self._step is Step.BLINK:
            return self._blink(look, same)
        evidence = evidence_of(self._step, look)
        if not all_passed(evidence):
            return Hint.LOOK_STRAIGHT if self._step is Step.LOOK_STRAIGHT else Hint.GO_ON
        if self._step is Step.LOOK_STRAIGHT:
            live = self._live(face)
            if isinstance(live, Hint):
                return live
            evidence = (*evidence, *live)
        return self._done((*evidence, same))

    def _blink(self, look: Look, same: Evidence) -> Hint:
        """A blink: eyes open, then shut, then open, while the face looks straight."""
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
        """Passive liveness of a straight face: the evidence if it is live, else a hint."""
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
        step = Done(step=self._step, at=frame.received_at, sequence=frame.sequence, evidence=evidence)
        # A movement ends with the face turned away, so the next one starts when it looks straight again.
        self._remember(armed=self._step in {Step.LOOK_STRAIGHT, Step.BLINK}, opened=False, shut=False)
        self._progress = self._progress.model_copy(update={"done": (*self._progress.done, step)})
        return Hint.WELL_DONE

    def _strike(self, reason: Reason, hint: Hint, *evidence: Evidence) -> Hint:
        count = self._memory.strikes.get(reason, 0) + 1
        if count >= STRIKES[reason]:
            raise _FailedError(reason, *evidence)
        self._remember(strikes={**self._memory.strikes, reason: count})
        return hint

    def _forgive(self, *reasons: Reason) -> None:
        strikes = {reason: count for reason, count in self._memory.strikes.items() if reason not in reasons}
        self._remember(strikes=strikes)

    def _remember(self, **changed: object) -> None:
        self._memory = self._memory.model_copy(update=changed)


def _similar(one: list[float], other: list[float], *, name: str, threshold: float) -> Evidence:
    value = cosine(one, other) if one and len(one) == len(other) else None
    passed = value is not None and value > threshold
    return Evidence(
        name=name, value=None if value is None else round(value, 4), limit=f"> {threshold:g}", passed=passed
    )


def _unrecognisable(face: Face) -> Evidence | None:
    """Evidence that the face cannot be recognized, so that comparing it proves nothing; None if it can."""
    verdict = face.embedding.recognisability if face.embedding else None
    if verdict is None or verdict.recognisable:
        return None
    value = None if verdict.score is None else round(verdict.score, 3)
    return Evidence(name="recognisability", value=value, limit=f"not {', '.join(verdict.reasons)}", passed=False)


def _exceeded(name: str, value: float, limit: float) -> Evidence:
    return Evidence(name=name, value=round(value, 3), limit=f"<= {limit:g}", passed=False)
