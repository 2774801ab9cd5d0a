"""Decision limits that belong to the models of a pack."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Each limit with its unit."""

    detection: float
    """Least detection score of a face, 0-1."""
    match: float
    """Verified means cosine > match, -1 to 1."""
    live: float
    """Live means liveness score >= live, 0-1."""
    spoof: float
    """Spoof means liveness score < spoof; between the two it is uncertain."""
    register_score: float
    """Least detection score for a registration, 0-1."""
    duplicate: float | None = None
    """Registered before means cosine > duplicate; `match` where it was not measured."""
    register_length: float | None = None
    """Least length of the raw embedding for a registration, on the model's own scale; None where not measured."""
