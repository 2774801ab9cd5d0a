"""What a worker writes, in small: results with embeddings of four numbers."""

from typing import Any, Final

UNIT = [0.5, -0.5, 0.5, -0.5]
LENGTH = 3.0
RAW = [1.5, -1.5, 1.5, -1.5]
NOT_EVALUATED: dict[str, Any] = {
    "outcome": "not_evaluated",
    "score": None,
    "threshold": None,
    "model": None,
    "reason": None,
}


DARK: Final = {"recognisable": False, "score": 0.2, "reasons": ["degraded"], "advice": "Find better light."}
"""The verdict on a face that cannot be recognised."""


def embedding(recognisability: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"vector": UNIT, "length": LENGTH, "contract": "contract-a", "recognisability": recognisability}


def face(*, score: float = 0.82412, embedded: bool = False) -> dict[str, Any]:
    return {
        "box": [10.25, 20.5, 110.75, 140.0],
        "landmarks": [[1.0, 2.0]] * 5,
        "score": score,
        "quality": None,
        "liveness": None,
        "embedding": embedding() if embedded else None,
    }


def faces(count: int, *, embedded: bool = False) -> dict[str, Any]:
    return {
        "kind": "faces",
        "image": {"width": 48, "height": 32},
        "faces": [face(embedded=embedded) for _ in range(count)],
    }


def verify(*, similarity: float | None, verified: bool = False, reason: str | None = None) -> dict[str, Any]:
    decision = "match" if verified else "no_match" if reason in {None, "below_threshold", "spoof"} else "inconclusive"
    return {
        "kind": "verify",
        "decision": decision,
        "verified": verified,
        "reason": reason,
        "reasons": [] if reason is None else [reason],
        "advice": None if verified else "Take another picture.",
        "similarity": similarity,
        "threshold": 0.5,
        "threshold_from": "request",
        "estimated_fmr": None,
        "fmr_bounds": None,
        "liveness": NOT_EVALUATED,
        "num_faces": 1,
        "face": None,
        "reference_face": None,
        "reference_recognisability": None,
    }


def reading(outcome: str, score: float) -> dict[str, Any]:
    return {"outcome": outcome, "score": score, "threshold": 0.7, "model": "m", "reason": None}


def liveness(outcome: str = "not_evaluated", score: float = 0.0, *, reason: str | None = None) -> dict[str, Any]:
    return {
        "kind": "liveness",
        "liveness": NOT_EVALUATED if reason else reading(outcome, score),
        "reason": reason,
        "num_faces": 1,
        "face": None,
    }


def register(
    *, reason: str | None, num_faces: int = 1, live: dict[str, Any] | None = None, registered: bool = False
) -> dict[str, Any]:
    return {
        "kind": "register",
        "registered": registered,
        "reason": reason,
        "checks": [],
        "num_faces": num_faces,
        "liveness": live or NOT_EVALUATED,
        "face": face() if num_faces == 1 else None,
        "embedding": embedding() if registered else None,
    }
