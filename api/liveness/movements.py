"""What each step of a liveness session asks of a frame: the numbers, their limits, and whether they were met."""

from dataclasses import dataclass
from typing import Final

from api.liveness.parallax import Motion, motion, nose_offset
from shared.faces import Face, Point, Strict
from shared.liveness_sessions import TURNS, Step

TURN: Final = 25.0
"""Degrees of yaw from the first frame on: what a person does who is asked to turn; press pictures stay within 21."""
TURN_PARALLAX: Final = 0.12
"""Least way of the nose beside its plane at a turn: a head's is 0.2 at 25 degrees, a picture's 0 and with points that
are off by 1.5 % of the eyes' distance below 0.085 in 999 of 1,000 (tests/unit/api/liveness/test_parallax.py)."""
TURN_BY_POINTS: Final = 0.20
"""The same where the pack tells no pose and the points stand alone."""
UP: Final = 15.0
"""Degrees of pitch from the first frame on."""
UP_PARALLAX: Final = 0.07
UP_BY_POINTS: Final = 0.12
CLOSER: Final = 1.35
"""How much larger the face becomes: from arm's length to two thirds of it and a bit."""
CLOSER_FROM: Final = 0.5
"""Share of the picture's width that a face may have in the first frame, where it is to come closer later."""
FRONTAL: Final = 20.0
"""Degrees of yaw and pitch that count as straight, by the model itself: it is off by up to that on frontal faces."""
FRONTAL_NOSE: Final = 0.2
"""How far beside its line the nose of a face that looks straight may be, in distances of the eyes."""
STRAIGHT: Final = 12.0
"""Degrees from the first frame's pose that count as back to it."""
STRAIGHT_PARALLAX: Final = 0.08
STRAIGHT_GROWTH: Final = 1.2
NARROWED: Final = 0.8
"""A face that is this much narrower has turned by 37 degrees: a head shows that by its nose as well, a picture not."""
SHUT: Final = 0.3
OPEN: Final = 0.6
"""Chances that both eyes are open, at most and at least, on either side of a blink."""
LEAST_WIDTH: Final = 60.0
"""Pixels of a face's width that its points and its embedding need."""


class Evidence(Strict):
    """One number of one frame, what it had to be, and whether it was."""

    name: str
    value: float | None
    limit: str
    passed: bool


class Anchor(Strict):
    """The first frame that looked straight: what all others are compared with."""

    vector: list[float]
    contract: str
    points: list[Point]
    yaw: float | None
    pitch: float | None


@dataclass(frozen=True, slots=True)
class Look:
    """A frame beside the anchor. Angles are differences in degrees; None where the pack has no model of pose."""

    motion: Motion
    yaw: float | None
    pitch: float | None
    eyes: float | None
    """Chance that the eyes are open, of the less open one."""


def looked(anchor: Anchor, face: Face) -> Look | None:
    """The frame beside the anchor; None where the points lie so that nothing can be said."""
    moved = motion(anchor.points, face.landmarks)
    if moved is None:
        return None
    yaw, pitch, eyes = said(face)
    return Look(
        motion=moved,
        yaw=None if yaw is None or anchor.yaw is None else yaw - anchor.yaw,
        pitch=None if pitch is None or anchor.pitch is None else pitch - anchor.pitch,
        eyes=eyes,
    )


def said(face: Face) -> tuple[float | None, float | None, float | None]:
    """Yaw, pitch, and the chance that the eyes are open, as far as the pack tells them."""
    found = face.attributes
    pose = found.pose if found else None
    eyes = found.eyes if found else None
    return (
        pose.yaw if pose else None,
        pose.pitch if pose else None,
        min(eyes.left, eyes.right) if eyes else None,
    )


def frontal(face: Face) -> tuple[Evidence, ...]:
    """Whether a first frame looks straight, by itself."""
    yaw, pitch, _ = said(face)
    offset = nose_offset(face.landmarks)
    told = [] if yaw is None or pitch is None else [_within("yaw", yaw, FRONTAL), _within("pitch", pitch, FRONTAL)]
    return (*told, _within("nose_offset", offset, FRONTAL_NOSE))


def straight(look: Look) -> tuple[Evidence, ...]:
    """Whether a later frame is back where the first one was."""
    told = [
        _within(name, value, STRAIGHT)
        for name, value in (("yaw", look.yaw), ("pitch", look.pitch))
        if value is not None
    ]
    return (
        *told,
        _within("parallax", look.motion.across, STRAIGHT_PARALLAX),
        _at_most("growth", look.motion.growth, STRAIGHT_GROWTH),
    )


def shown(step: Step, look: Look) -> tuple[Evidence, ...]:
    """What a frame shows of a movement; the step is done where all of it passed."""
    match step:
        case Step.TURN_LEFT:
            return _turned(look, side=1)
        case Step.TURN_RIGHT:
            return _turned(look, side=-1)
        case Step.LOOK_UP:
            rise = -look.motion.down
            if look.pitch is None:
                return (_at_least("parallax", rise, UP_BY_POINTS),)
            return _at_least("pitch", look.pitch, UP), _at_least("parallax", rise, UP_PARALLAX)
        case Step.COME_CLOSER:
            return (_at_least("growth", look.motion.growth, CLOSER),)
        case _:
            return straight(look)


def wrong(step: Step, look: Look) -> Step | None:
    """Another movement than the one asked for that a frame shows beyond doubt; coming closer or a blink is none."""
    others = (other for other in (*TURNS, Step.LOOK_UP) if other is not step)
    return next((other for other in others if _all(shown(other, look)) and not _all(shown(step, look))), None)


def flat(look: Look) -> Evidence | None:
    """The parallax of a frame that has turned as a head would, while its nose stayed in its plane; else None."""
    turned = look.motion.narrowing <= NARROWED or (look.yaw is not None and abs(look.yaw) >= TURN)
    across = abs(look.motion.across)
    return _at_least("parallax", across, TURN_PARALLAX) if turned and across < STRAIGHT_PARALLAX else None


def _turned(look: Look, *, side: int) -> tuple[Evidence, ...]:
    across = look.motion.across * side
    if look.yaw is None:
        return (_at_least("parallax", across, TURN_BY_POINTS),)
    return _at_least("yaw", look.yaw * side, TURN), _at_least("parallax", across, TURN_PARALLAX)


def _all(evidence: tuple[Evidence, ...]) -> bool:
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
