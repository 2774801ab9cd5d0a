"""Quality checks of a face: each has a value, a limit, and advice for the person at the camera."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from shared.faces import Check, CheckName, Liveness, PoseMethod, Quality, Recognisability
from shared.quality import QualityLimits
from worker.engine.base import Detection, HeadPose
from worker.engine.five_points import five_point_pose

ADVICE: Final[dict[CheckName, str]] = {
    "one_face": "Make sure that exactly one face is visible.",
    "detection_score": "Improve the light and face the camera.",
    "face_width": "Come closer to the camera.",
    "face_share": "Come closer: your face should fill more of the picture.",
    "border": "Move so that your whole face is in the picture.",
    "sharpness": "Hold still and let the camera focus.",
    "brightness": "Move to even light that is neither too dark nor too bright.",
    "contrast": "Wipe the lens and avoid a bright window behind you.",
    "yaw": "Look straight at the camera.",
    "pitch": "Hold the camera at eye level.",
    "roll": "Hold your head and the camera upright.",
    "eyes": "Open your eyes and take off dark glasses.",
    "embedding_length": "Uncover your face and look at the camera in good light.",
    "recognisability": "Use a sharp, upright picture of the face in even light.",
    "liveness": "Use a live camera, not a picture of a picture.",
    "same_person": "Use pictures of one person only.",
    "duplicate": "This person appears to be registered already. Sign in instead, or ask for help.",
}
REJECTED: Final = {
    "cut_by_border": ADVICE["border"],
    "too_small": ADVICE["face_width"],
    "too_oblique": ADVICE["yaw"],
}
"""Advice when liveness could not be judged."""
LEVEL: Final[dict[PoseMethod, float]] = {"model": -11.5, "landmarks_68": 0.0, "five_points": 0.0}
"""Pitch reported for a frontal head: the model's median over 29 portraits is -11.5 degrees."""


class Seen(NamedTuple):
    """Measurements of one face."""

    face: Detection
    quality: Quality
    pose: HeadPose
    eyes: tuple[float, float] | None


def one_face(count: int, *, chosen: bool, exactly: bool) -> Check:
    """Check whether the intended face is unambiguous."""
    return _check("one_face", count, "== 1" if exactly else ">= 1", passed=chosen)


def liveness(reading: Liveness) -> Check:
    """Check whether the passive reading is live; a face that could not be judged fails."""
    advice = REJECTED.get(reading.reason or "") if reading.outcome == "input_rejected" else None
    check = _check("liveness", reading.score, f">= {reading.threshold:g}", passed=reading.outcome == "live")
    return check if advice is None else check.model_copy(update={"advice": advice})


def recognisability(verdict: Recognisability, *, limits: str) -> Check:
    """Check whether the face can be recognised. Several limits decide; the reported value is the score."""
    check = _check("recognisability", verdict.score, limits, passed=verdict.recognisable)
    return check.model_copy(update={"advice": verdict.advice})


def same_person(similarity: float, *, match: float, passed: bool) -> Check:
    """Check whether an image shows the same person as most others, by similarity to the most central image."""
    return _check("same_person", similarity, f"> {match:g}", passed=passed)


def duplicate(similarity: float, *, limit: float) -> Check:
    """Check that no known embedding belongs to the same person."""
    return _check("duplicate", similarity, f"<= {limit:g}", passed=similarity <= limit)


def embedding_length(length: float, limits: QualityLimits) -> Iterator[Check]:
    """Check the length of the raw embedding if limited: short embeddings match their own person less reliably."""
    yield from _least("embedding_length", length, limits.min_embedding_length)


def checks(seen: Seen, limits: QualityLimits) -> Iterator[Check]:
    """Yield every image check that has a limit, in the order of `CheckName`. Missing measurements fail no check."""
    quality, pose = seen.quality, seen.pose
    yield from _least("detection_score", seen.face.score, limits.min_detection_score)
    yield from _least("face_width", quality.face_width_px, limits.min_face_width_px)
    yield from _least("face_share", quality.face_share, limits.min_face_share)
    yield from _least("border", quality.inside, limits.min_inside)
    yield from _least("sharpness", quality.sharpness, limits.min_sharpness)
    if limits.min_brightness is not None or limits.max_brightness is not None:
        dark = 0.0 if limits.min_brightness is None else limits.min_brightness
        bright = 255.0 if limits.max_brightness is None else limits.max_brightness
        yield _between("brightness", quality.brightness, dark, bright)
    yield from _least("contrast", quality.contrast, limits.min_contrast)
    points = five_point_pose(seen.face)
    # A pose model reports a roll of only -22 degrees for a head lying on its side.
    steeper = max(pose, points, key=lambda each: abs(each.roll))
    angles: tuple[tuple[CheckName, HeadPose, float, float, float | None], ...] = (
        ("yaw", pose, pose.yaw, 0.0, limits.max_yaw),
        ("pitch", pose, pose.pitch, LEVEL[pose.method], limits.max_pitch),
        ("roll", steeper, steeper.roll, 0.0, limits.max_roll),
    )
    for name, read, value, level, most in angles:
        if most is not None:
            method = read.method if read.error is None else f"{read.method}, within {read.error:g} degrees"
            yield _between(name, value, level - most, level + most).model_copy(update={"method": method})
    if seen.eyes is not None:
        yield from _least("eyes", max(seen.eyes), limits.min_eyes_open)


def _least(name: CheckName, value: float, limit: float | None) -> Iterator[Check]:
    if limit is not None:
        yield _check(name, value, f">= {limit:g}", passed=value >= limit)


def _between(name: CheckName, value: float, least: float, most: float) -> Check:
    return _check(name, value, f"{least:g}..{most:g}", passed=least <= value <= most)


def _check(name: CheckName, value: float | None, limit: str, *, passed: bool) -> Check:
    return Check(name=name, value=value, limit=limit, passed=passed, advice=None if passed else ADVICE[name])
