"""Decide a verification: `match`, `no_match` or `inconclusive`, with all reasons and advice about the first."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from shared.faces import Liveness
from shared.results import Decision, FaceReason, VerifyReason
from worker.operations import gates

Obstacle = Literal[
    "no_face",
    "multiple_faces",
    "reference_no_face",
    "reference_multiple_faces",
    "unrecognisable",
    "reference_unrecognisable",
]
"""A reason why no comparison is possible."""

LIVENESS: Final[dict[str, VerifyReason]] = {"spoof": "spoof", "input_rejected": "liveness_input_rejected"}
"""Reason by liveness outcome; every other outcome except `live` is uncertain."""
ADVICE: Final[dict[VerifyReason, str]] = {
    "no_face": "Face the camera so that your whole face is in the picture.",
    "multiple_faces": "Make sure that yours is the only face in the picture.",
    "reference_no_face": "Use a reference picture that shows the whole face.",
    "reference_multiple_faces": "Use a reference picture with one face.",
    "unrecognisable": "Take a sharp, upright picture of your face in even light.",
    "reference_unrecognisable": "Use a sharp, upright reference picture of the face in even light.",
    "below_threshold": "If this is you, take another picture: face the camera in even light, with nothing covering "
    "your face.",
    "spoof": gates.ADVICE["liveness"],
    "liveness_uncertain": "Take another picture: face the camera in even light, without glare or backlight.",
    "liveness_input_rejected": "Take another picture: face the camera, with your whole face in the picture.",
}


class Verdict(NamedTuple):
    """The decision; reasons and advice are empty for a match."""

    decision: Decision
    reasons: list[VerifyReason]
    advice: str | None


def of_reference(reason: FaceReason) -> Obstacle:
    """Return the same obstacle for the reference picture."""
    return "reference_no_face" if reason == "no_face" else "reference_multiple_faces"


def decide(
    obstacles: Sequence[Obstacle], *, similar: bool, liveness: Liveness | None, advice: str | None = None
) -> Verdict:
    """Weigh what is known about one verification.

    Args:
        obstacles: reasons why no comparison is possible; with any, the similarity is meaningless.
        similar: whether the similarity is above the threshold.
        liveness: the reading required for a match, or None if none is required.
        advice: advice about the first obstacle that is more specific than `ADVICE`.
    """
    reasons: list[VerifyReason] = list(obstacles)
    if not obstacles and not similar:
        reasons.append("below_threshold")
    if liveness is not None and liveness.outcome != "live" and not (obstacles and liveness.outcome == "not_evaluated"):
        reasons.append(LIVENESS.get(liveness.outcome, "liveness_uncertain"))
    if not reasons:
        return Verdict("match", [], None)
    against = not obstacles and ("below_threshold" in reasons or "spoof" in reasons)
    if not obstacles and reasons[0] == "liveness_input_rejected" and liveness is not None:
        advice = gates.REJECTED.get(liveness.reason or "")
    return Verdict("no_match" if against else "inconclusive", reasons, advice or ADVICE[reasons[0]])
