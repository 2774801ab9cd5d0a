"""The decision limits of a pack's models."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Decision limits with their units."""

    detection: float
    """Minimum detection score of a face, 0-1."""
    match: float
    """A face is verified if cosine > match, -1 to 1."""
    live: float
    """A face is live if its liveness score >= live, 0-1."""
    spoof: float
    """A face is a spoof if its liveness score < spoof; between the two limits it is uncertain."""
    register_score: float
    """Minimum detection score for a registration, 0-1."""
    duplicate: float | None = None
    """A person is already registered if cosine > duplicate; defaults to `match` if not measured."""
    register_length: float | None = None
    """Minimum raw embedding length for a registration, on the model's own scale; None if not measured."""
