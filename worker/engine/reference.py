"""Compares an engine's embeddings with those of insightface's own pipeline, on the photograph that it ships."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from shared.errors import SettingsError
from worker.engine.base import Engine

PHOTOGRAPH: Final = "data/images/t1.jpg"
LEAST_COSINE: Final = 0.9999


@dataclass(frozen=True, slots=True)
class Comparison:
    """What both made of one photograph."""

    photograph: str
    cosines: tuple[float, ...]
    """Between both embeddings of each face that insightface finds, aligned by each with the same five points."""
    found: int
    """Faces that the engine finds by itself."""

    @property
    def agrees(self) -> bool:
        """Whether there is a face and every embedding is the same."""
        return bool(self.cosines) and min(self.cosines) >= LEAST_COSINE


def compare(engine: Engine, library: Engine) -> Comparison:
    """Embed the faces that insightface's own pipeline finds with both engines, aligned by each with the same points.

    Args:
        engine: our stages over a pack.
        library: `FaceAnalysis` over the original files of the same pack.
    """
    path = photograph()
    image = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)
    faces = library.detect(image)
    mine, theirs = (one.embed(one.align(image, faces)).astype(np.float64) for one in (engine, library))
    cosines = [
        float(row @ other / (np.linalg.norm(row) * np.linalg.norm(other)))
        for row, other in zip(mine, theirs, strict=True)
    ]
    return Comparison(photograph=path.name, cosines=tuple(cosines), found=len(engine.detect(image)))


def photograph() -> Path:
    """The photograph of six people that insightface ships.

    Raises:
        SettingsError: insightface is not installed.
    """
    spec = find_spec("insightface")
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        msg = "comparing needs the insightface package; --files-only checks the files alone"
        raise SettingsError(msg)
    return Path(places[0], PHOTOGRAPH)
