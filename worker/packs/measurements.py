"""Measurements of recognition models: centroids of unrecognizable faces, and the files that ship with this version."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import Field, ValidationError

from shared.errors import SettingsError
from shared.faces import Strict
from worker.packs.manifests import Manifest
from worker.packs.recognisability import Measure

Family = Literal[
    "dark", "blur", "slight_blur", "motion", "upside_down", "sideways", "overexposed", "mouth", "eyes", "negative"
]
"""Kinds of damage that share one centroid."""
MEASURED: Final = Path(__file__).parent / "measured"
"""Measurements of known recognition models, one file each, named by the checksum of the model."""
MAX_SIMILARITY: Final = 0.31
MAX_ROLL: Final = 40.0
"""Provisional limits for models that have not been measured on labelled pictures."""
_TINY: Final = float(np.finfo(np.float64).tiny)


class Measurement(Strict):
    """The centroids of one recognition model, with their limits."""

    format: Literal[1]
    recogniser: str = Field(pattern=r"^[0-9a-f]{64}$", description="Checksum of the recognition model.")
    pictures: tuple[str, ...] = Field(min_length=1, description="Checksums of the pictures with the portraits.")
    portraits: int = Field(ge=1)
    max_similarity: float = Field(default=MAX_SIMILARITY, ge=-1, le=1)
    min_length: float | None = Field(default=None, ge=0, description="Null if it was not measured.")
    max_roll: float = Field(default=MAX_ROLL, ge=0, le=180)
    stricter: dict[Family, float] = Field(
        default_factory=dict, description="How far the limit of a family is below `max_similarity`."
    )
    centroids: dict[Family, str] = Field(description="Directions as signed bytes in base64.")

    def measure(self) -> Measure:
        """Return the measure that an engine applies to embeddings."""
        rows = [np.frombuffer(base64.b64decode(text), np.int8).astype(np.float64) for text in self.centroids.values()]
        return Measure(
            centroids=tuple(tuple((row / max(float(np.linalg.norm(row)), _TINY)).tolist()) for row in rows),
            stricter=tuple(self.stricter.get(family, 0.0) for family in self.centroids),
            max_similarity=self.max_similarity,
            min_length=self.min_length,
            max_roll=self.max_roll,
        )


MeasureModel = Callable[[Path, Manifest], Measurement | str]
"""Measures the recognition model of the pack in a folder, or returns a phrase that says why it cannot."""


def known(recogniser: str) -> Measurement | None:
    """Return the measurement that ships with this version for a recognition model, by its checksum.

    Raises:
        SettingsError: the file is damaged.
    """
    path = MEASURED / f"{recogniser}.json"
    if not path.is_file():
        return None
    try:
        return Measurement.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        msg = f"{path} is not a measurement of recognizability"
        raise SettingsError(msg) from None
