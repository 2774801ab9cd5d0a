"""The real engine: InsightFace's detector and recogniser over the files of a pack."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.model_zoo.scrfd import SCRFD

from shared.errors import ErrorCode, JobError, SettingsError
from worker.engine import align, packs
from worker.engine.base import Detection, EngineInfo, Image, Vectors
from worker.engine.passive import PassiveLiveness
from worker.engine.sessions import Session, choose_provider

BATCH: Final = 8
"""Faces of one image in one run, where the recogniser takes batches; larger ones gain nothing on a CPU."""
GREY: Final = (127, 127, 127)
_HEADS: Final = 9


class InsightEngine:
    """Loaded, warmed models of one pack.

    Nothing changes after the constructor except insightface's cache of anchor positions, where two threads can only
    write the same value: every method is safe for several threads at once.
    """

    def __init__(self, models_dir: Path, *, pack: str, provider: Literal["auto", "cpu", "cuda"]) -> None:
        """Check, load and warm the pack. Never downloads.

        Raises:
            SettingsError: the pack is missing or damaged, a model is not what the manifest says, or the device that
                was asked for cannot run it.
        """
        manifest = packs.installed(models_dir, pack)
        chosen = choose_provider(provider)
        files = {file.role: (models_dir / pack / file.name).absolute() for file in manifest.files if file.role}
        self._plan = manifest.detection
        self._detector = _detector(files["detection"], provider=chosen)
        self._recogniser = _recogniser(files["recognition"], provider=chosen)
        self._batch = BATCH if not isinstance(self._recogniser.input_shape[0], int) else 1
        self._liveness = PassiveLiveness(files["liveness"], provider=chosen) if "liveness" in files else None
        reader = manifest.file("liveness")
        self._info = EngineInfo(
            pack=manifest.name,
            contract=manifest.embedding_contract,
            provider=chosen,
            embedding_size=manifest.embedding_size,
            liveness_model=f"{Path(reader.name).stem}-{reader.sha256[:8]}" if reader else None,
            thresholds=manifest.thresholds,
        )
        self._warm_up()

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""
        return self._info

    def detect(self, image: Image, *, threshold: float | None = None) -> list[Detection]:
        """Every face with at least this score (the pack's where None), the largest box first.

        Where none is found, the image is tried again with grey borders: a face that fills the frame is too large for
        the detector's anchors.
        """
        least = self._info.thresholds.detection if threshold is None else threshold
        found = self._faces(image, threshold=least)
        for margin in self._plan.retry_margins:
            if found:
                break
            found = self._faces_with_margin(image, margin=margin, threshold=least)
        return sorted(found, key=lambda face: -face.area)

    def embed(self, image: Image, faces: Sequence[Detection]) -> Vectors:
        """Raw embeddings of these faces, in their order; shape (len(faces), dimension), float32."""
        if not faces:
            return np.empty((0, self._info.embedding_size), np.float32)
        crops = [align.crop(image, face.landmarks) for face in faces]
        chunks = [crops[start : start + self._batch] for start in range(0, len(crops), self._batch)]
        rows = [np.asarray(self._recogniser.get_feat(chunk), np.float32) for chunk in chunks]
        return np.concatenate(rows)

    def liveness(self, image: Image, face: Detection) -> float:
        """Chance from 0 to 1 that the face is live.

        Raises:
            JobError: `liveness_unavailable` where the pack has no liveness model.
        """
        if self._liveness is None:
            raise JobError(
                ErrorCode.LIVENESS_UNAVAILABLE, f"The model pack {self._info.pack} has no passive liveness model."
            )
        return self._liveness.read(image, face)

    def _faces(self, image: Image, *, threshold: float) -> list[Detection]:
        height, width = image.shape[:2]
        sizes = self._plan.input_sizes
        if max(height, width) >= min(map(min, sizes)) * min(height, width):
            return []  # a strip so thin that nothing is left of it at the detector's size
        boxes, points = self._detector.detect(image, input_size=sizes, det_thresh=threshold)
        return [
            Detection(
                box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                landmarks=tuple((float(x), float(y)) for x, y in five),
                score=min(1.0, float(box[4])),
            )
            for box, five in zip(boxes, points, strict=True)
        ]

    def _faces_with_margin(self, image: Image, *, margin: float, threshold: float) -> list[Detection]:
        """Faces of the image with a grey border of `margin` of each side, in the pixels of the image without it.

        The image is brought to the detector's size first: the same for the detector, and a border around a large
        photograph would cost memory.
        """
        height, width = image.shape[:2]
        scale = max(map(min, self._plan.input_sizes)) / ((1 + 2 * margin) * max(height, width))
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        across, down = round(small[0] * margin), round(small[1] * margin)
        resized = cv2.resize(image, small)
        framed = cv2.copyMakeBorder(resized, down, down, across, across, cv2.BORDER_CONSTANT, value=GREY)
        back_x, back_y = width / small[0], height / small[1]

        def back(x: float, y: float) -> tuple[float, float]:
            return (x - across) * back_x, (y - down) * back_y

        return [
            Detection(
                box=(*back(*face.box[:2]), *back(*face.box[2:])),
                landmarks=tuple(back(x, y) for x, y in face.landmarks),
                score=face.score,
            )
            for face in self._faces(np.asarray(framed, np.uint8), threshold=threshold)
        ]

    def _warm_up(self) -> None:
        """Run every model once, so that the first job pays for no allocation; the shapes are checked on the way."""
        side = max(map(max, self._plan.input_sizes))
        image = np.full((side, side, 3), GREY, np.uint8)
        corner = side / 4
        points = tuple((corner + x, corner + y) for x, y in align.TEMPLATE.tolist())
        face = Detection(box=(corner, corner, corner + align.SIZE, corner + align.SIZE), landmarks=points, score=1.0)
        try:
            self.detect(image)
            size = self.embed(image, [face]).shape[1]
            if self._liveness is not None:
                self._liveness.read(image, face)
        except JobError as error:
            msg = f"The model pack {self._info.pack} fails its first run: {error.detail}"
            raise SettingsError(msg) from None
        _require(size == self._info.embedding_size, f"the recogniser gives {size} numbers, not what the manifest says")


def _detector(path: Path, *, provider: str) -> Any:
    """SCRFD of insightface over our own session: one session for every input size, no download, no guessing."""
    session = Session(path, provider=provider)
    _require(len(session.get_outputs()) == _HEADS, f"{path.name} is not a SCRFD detector with five points")
    return SCRFD(model_file=str(path), session=session, static_shape_sessions=False)


def _recogniser(path: Path, *, provider: str) -> Any:
    session = Session(path, provider=provider)
    shape = session.get_inputs()[0].shape
    _require(list(shape[1:]) == [3, align.SIZE, align.SIZE], f"{path.name} does not take 3x112x112 faces")
    model = ArcFaceONNX(model_file=str(path), session=session)
    # insightface guesses from the first nodes of the graph; the manifest says arcface-112-rgb
    _require((model.input_mean, model.input_std) == (127.5, 127.5), f"{path.name} scales its input by itself")
    return model


def _require(condition: bool, complaint: str) -> None:  # noqa: FBT001 - reads like an assert
    if not condition:
        msg = f"The model pack does not fit this engine: {complaint}"
        raise SettingsError(msg)
