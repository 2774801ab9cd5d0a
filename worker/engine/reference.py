"""Compares an engine's embeddings with those of insightface's own pipeline, on the photograph that it ships."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from shared.errors import SettingsError
from worker.engine.base import Detection, Engine
from worker.engine.packs import NEEDED, Manifest

PHOTOGRAPH: Final = "data/images/t1.jpg"
LEAST_COSINE: Final = 0.9999
_SIDE: Final = 640


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


def compare(engine: Engine, folder: Path, manifest: Manifest) -> Comparison:
    """Run `insightface.FaceAnalysis` over the original files of the pack in `folder`, and the engine over its points.

    Raises:
        SettingsError: insightface is not installed, or cannot load these models.
    """
    spec = find_spec("insightface")
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        msg = "comparing needs the insightface package; --files-only checks the files alone"
        raise SettingsError(msg)
    path = Path(places[0], PHOTOGRAPH)
    image = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)
    faces = _faces(image, folder, manifest)
    points = [Detection(box=box, landmarks=landmarks, score=1.0) for box, landmarks, _ in faces]
    mine = engine.embed(engine.align(image, points)).astype(np.float64)
    cosines = [
        float(row @ other / (np.linalg.norm(row) * np.linalg.norm(other)))
        for row, (_, _, other) in zip(mine, faces, strict=True)
    ]
    return Comparison(photograph=path.name, cosines=tuple(cosines), found=len(engine.detect(image)))


_Face = tuple[tuple[float, float, float, float], tuple[tuple[float, float], ...], np.ndarray]


@contextmanager
def needed_alone(folder: Path, manifest: Manifest) -> Iterator[str]:
    """A folder with the original detector and recogniser of the pack in `folder`, and nothing else.

    `FaceAnalysis` loads every *.onnx of a folder, fails on models that it does not know, and takes our manifest for its
    own.
    """
    with tempfile.TemporaryDirectory() as alone:
        for file in manifest.files:
            if file.role in NEEDED:
                Path(alone, file.name).symlink_to((folder / file.name).absolute())
        yield alone


def _faces(image: np.ndarray, folder: Path, manifest: Manifest) -> list[_Face]:
    from insightface.app import FaceAnalysis  # noqa: PLC0415 - 46 MB that no worker needs

    with needed_alone(folder, manifest) as alone, warnings.catch_warnings():
        try:
            warnings.simplefilter("ignore")  # insightface 2.1 calls what scikit-image 0.26 deprecates
            analysis = FaceAnalysis(alone, allowed_modules=list(NEEDED), providers=["CPUExecutionProvider"])
            analysis.prepare(-1, det_size=(_SIDE, _SIDE))
            found = analysis.get(image)
        except Exception as error:  # noqa: BLE001 - it raises what its libraries raise, and AssertionError
            msg = f"insightface itself cannot run these models: {str(error) or type(error).__name__}"
            raise SettingsError(msg) from None
    return [
        (tuple(face.bbox.tolist()), tuple(map(tuple, face.kps.tolist())), np.asarray(face.embedding, np.float64))
        for face in found
    ]
