"""The measurements and limits that each step of a liveness session requires of a frame."""

from dataclasses import dataclass
from typing import Final

from api.liveness.parallax import Motion, motion, nose_offset
from shared.faces import Face, Point, Strict
from shared.liveness_sessions import TURNS, Step

TURN: Final = 25.0
"""Degrees of yaw relative to the first frame. People turn further when asked to; press photos stay within 21."""
TURN_PARALLAX: Final = 0.12
"""Minimum distance of the nose from its expected position in a turn. For a head it is 0.2 at 25 degrees; for a picture
0, and with landmark errors of 1.5 % of the eye distance below 0.085 in 999 of 1,000 cases
(tests/unit/api/liveness/test_parallax.py)."""
TURN_BY_POINTS: Final = 0.20
"""The same if the pack has no pose model and only landmarks are available."""
UP: Final = 15.0
"""Degrees of pitch relative to the first frame."""
UP_PARALLAX: Final = 0.07
UP_BY_POINTS: Final = 0.12
CLOSER: Final = 1.35
"""Growth of the face: from arm's length to slightly less than three quarters of it."""
CLOSER_FROM: Final = 0.5
"""Maximum share of the image width that the first face may take if the challenge includes coming closer."""
FRONTAL: Final = 20.0
"""Absolute yaw and pitch in degrees that count as straight: the pose model errs by up to this on frontal faces."""
FRONTAL_NOSE: Final = 0.2
"""Maximum distance of the nose from the midline of a straight face, in eye distances."""
STRAIGHT: Final = 12.0
"""Difference in degrees from the pose of the first frame that still counts as straight."""
STRAIGHT_PARALLAX: Final = 0.08
STRAIGHT_GROWTH: Final = 1.2
NARROWED: Final = 0.8
"""A face that appears this much narrower has turned by 37 degrees. On a head, but not a picture, the nose moves."""
SHUT: Final = 0.3
OPEN: Final = 0.6
"""Limits on the probability that both eyes are open: at most `SHUT` during a blink, at least `OPEN` around it."""
LEAST_WIDTH: Final = 60.0
"""Minimum face width in pixels for usable landmarks and embeddings."""


class Evidence(Strict):
    """One measurement of a frame, its limit, and whether it passed."""

    name: str
    value: float | None
    limit: str
    passed: bool


class Anchor(Strict):
    """The first frame with a straight face. All later frames are compared with it."""

    vector: list[float]
    contract: str
    points: list[Point]
    yaw: float | None
    pitch: float | None


@dataclass(frozen=True, slots=True)
class Look:
    """A frame compared with the anchor. Angles are differences in degrees; None if the pack has no pose model."""

    motion: Motion
    yaw: float | None
    pitch: float | None
    eyes: float | None
    """Probability that the less open eye is open."""


def compare(anchor: Anchor, face: Face) -> Look | None:
    """Compare a frame with the anchor; None if the landmarks are degenerate."""
    movement = motion(anchor.points, face.landmarks)
    if movement is None:
        return None
    yaw, pitch, eyes = pose_and_eyes(face)
    return Look(
        motion=movement,
        yaw=None if yaw is None or anchor.yaw is None else yaw - anchor.yaw,
        pitch=None if pitch is None or anchor.pitch is None else pitch - anchor.pitch,
        eyes=eyes,
    )


def pose_and_eyes(face: Face) -> tuple[float | None, float | None, float | None]:
    """Yaw, pitch, and the probability that the eyes are open, each None if the pack does not provide it."""
    attributes = face.attributes
    pose = attributes.pose if attributes else None
    eyes = attributes.eyes if attributes else None
    return (
        pose.yaw if pose else None,
        pose.pitch if pose else None,
        min(eyes.left, eyes.right) if eyes else None,
    )


def frontal(face: Face) -> tuple[Evidence, ...]:
    """Evidence that the face of a first frame, without an anchor, looks straight."""
    yaw, pitch, _ = pose_and_eyes(face)
    offset = nose_offset(face.landmarks)
    pose = [] if yaw is None or pitch is None else [_within("yaw", yaw, FRONTAL), _within("pitch", pitch, FRONTAL)]
    return (*pose, _within("nose_offset", offset, FRONTAL_NOSE))


def straight(look: Look) -> tuple[Evidence, ...]:
    """Evidence that the face of a later frame is back at the pose of the anchor."""
    pose = [
        _within(name, value, STRAIGHT)
        for name, value in (("yaw", look.yaw), ("pitch", look.pitch))
        if value is not None
    ]
    return (
        *pose,
        _within("parallax", look.motion.across, STRAIGHT_PARALLAX),
        _at_most("growth", look.motion.growth, STRAIGHT_GROWTH),
    )


def evidence_of(step: Step, look: Look) -> tuple[Evidence, ...]:
    """The evidence of a frame for a step. The step is complete if all of it passed."""
    match step:
        case Step.TURN_LEFT:
            return _turn(look, side=1)
        case Step.TURN_RIGHT:
            return _turn(look, side=-1)
        case Step.LOOK_UP:
            rise = -look.motion.down
            if look.pitch is None:
                return (_at_least("parallax", rise, UP_BY_POINTS),)
            return _at_least("pitch", look.pitch, UP), _at_least("parallax", rise, UP_PARALLAX)
        case Step.COME_CLOSER:
            return (_at_least("growth", look.motion.growth, CLOSER),)
        case _:
            return straight(look)


def wrong_movement(step: Step, look: Look) -> Step | None:
    """A turn or look up that the frame clearly shows although another step was requested; None if there is none."""
    if all_passed(evidence_of(step, look)):
        return None
    others = (other for other in (*TURNS, Step.LOOK_UP) if other is not step)
    return next((other for other in others if all_passed(evidence_of(other, look))), None)


def flatness(look: Look) -> Evidence | None:
    """The parallax of a face that has turned while its nose stayed in the plane of the picture; else None."""
    turned = look.motion.narrowing <= NARROWED or (look.yaw is not None and abs(look.yaw) >= TURN)
    across = abs(look.motion.across)
    return _at_least("parallax", across, TURN_PARALLAX) if turned and across < STRAIGHT_PARALLAX else None


def _turn(look: Look, *, side: int) -> tuple[Evidence, ...]:
    across = look.motion.across * side
    if look.yaw is None:
        return (_at_least("parallax", across, TURN_BY_POINTS),)
    return _at_least("yaw", look.yaw * side, TURN), _at_least("parallax", across, TURN_PARALLAX)


def all_passed(evidence: tuple[Evidence, ...]) -> bool:
    """Whether all evidence passed."""
    return all(each.passed for each in evidence)


def _within(name: str, value: float | None, limit: float) -> Evidence:
    passed = value is not None and abs(value) <= limit
    return Evidence(name=name, value=_rounded(value), limit=f"-{limit:g}..{limit:g}", passed=passed)


def _at_least(name: str, value: float, limit: float) -> Evidence:
    return Evidence(name=name, value=_rounded(value), limit=f">= {limit:g}", passed=value >= limit)


def _at_most(name: str, value: float, limit: float) -> Evidence:
    return Evidence(name=name, value=_rounded(value), limit=f"<= {limit:g}", passed=value <= limit)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
