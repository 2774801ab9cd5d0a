"""Compare an engine's embeddings with those of insightface's own pipeline, on the photograph shipped with it."""

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
    """Results of both engines for one photograph."""

    photograph: str
    cosines: tuple[float, ...]
    """Between both embeddings of each face that insightface detects, aligned by each with the same five points."""
    found: int
    """Number of faces that the engine itself detects."""

    @property
    def agrees(self) -> bool:
        """Whether there is a face and all embeddings agree."""
        return bool(self.cosines) and min(self.cosines) >= LEAST_COSINE


def compare(engine: Engine, library: Engine) -> Comparison:
    """Embed the faces that insightface detects with both engines, aligned by each with the same points.

    Args:
        engine: our stages, with a pack.
        library: `FaceAnalysis` with the original files of the same pack.
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
    """Return the path of the photograph of six people shipped with insightface.

    Raises:
        SettingsError: insightface is not installed.
    """
    spec = find_spec("insightface")
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        msg = "comparing needs the insightface package; use --files-only to check only the files"
        raise SettingsError(msg)
    return Path(folders[0], PHOTOGRAPH)
