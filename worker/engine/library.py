"""Run a pack through insightface's own `FaceAnalysis`: the reference for our stages, and support for unknown packs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from insightface.app.common import Face
from insightface.utils import face_align

from shared.errors import SettingsError
from worker.engine.base import (
    AS_THE_PACK_SAYS,
    AttributeName,
    Attributes,
    Crops,
    Detection,
    EngineInfo,
    HeadPose,
    Image,
    Search,
    Vectors,
)
from worker.engine.describe import described
from worker.engine.detector import planned_sizes
from worker.engine.devices import OPENVINO, Device
from worker.engine.library_files import LibraryPack, library_pack
from worker.engine.library_models import TASKS, embedding_contract, load_error, load_models, reason_of
from worker.engine.passive import READERS, Ensemble
from worker.engine.sessions import open_session
from worker.engine.warm_up import warm_up
from worker.packs.manifests import PackFile, sha256_of
from worker.packs.prepare import prepared, recognisability
from worker.packs.thresholds import Thresholds

THRESHOLDS: Final = Thresholds(detection=0.5, match=0.4, live=0.5, spoof=0.3, register_score=0.6)
"""Limits for a pack without a manifest: the library's own detection and match defaults. None was measured."""
SIZES: Final = ((128, 128), (640, 640))
"""The library's default detection sizes, used for a pack without a manifest."""
MALE: Final = 1


class LibraryEngine:
    """A pack in `FaceAnalysis`, one library call per stage. Immutable after construction.

    Detection, alignment, recognition and attributes are the library's own code; passive liveness is ours, if the pack
    has a manifest with a liveness file. The library does not retry with a border if it finds no face.
    """

    def __init__(self, models_dir: Path, *, pack: str, device: Device) -> None:
        """Check, load and warm up the pack. Never downloads.

        Raises:
            SettingsError: the pack is missing or corrupt, the library cannot load it, or the requested device cannot
                run it.
        """
        if device.provider == OPENVINO:
            msg = "VULTUS_ENGINE=insightface runs on onnxruntime: set VULTUS_PROVIDER to cpu, cuda or tensorrt"
            raise SettingsError(msg)
        source = library_pack(models_dir, pack)
        manifest = source.manifest
        self._thresholds = manifest.thresholds if manifest else THRESHOLDS
        self._models = load_models(source, device)
        self._detector, self._recogniser = self._models["detection"], self._models["recognition"]
        self._side = int(self._recogniser.input_size[0])
        self._fixed: tuple[int, int] | None = self._detector.static_input_size
        planned = manifest.detection.input_sizes if manifest else SIZES
        self._sizes = (self._fixed,) if self._fixed else planned
        files = manifest.files_of("liveness") if manifest else ()
        self._liveness = Ensemble([_reader(source.folder, file, device) for file in files], pack=source.name)
        self._info = self._described(source)
        self._warm_up()

    def _described(self, source: LibraryPack) -> EngineInfo:
        contract = embedding_contract(self._recogniser, source)
        provider = str(self._detector.session.get_providers()[0])
        attributes = tuple(name for name, task in TASKS.items() if task in self._models)
        side = max(map(max, self._sizes))
        if source.manifest is not None:
            return described(
                source.manifest,
                folder=source.folder,
                contract=contract,
                provider=provider,
                attributes=attributes,
                largest_side=side,
            )
        return EngineInfo(
            pack=source.name,
            contract=contract,
            provider=provider,
            embedding_size=self._dimension(source),
            liveness_model=None,
            thresholds=self._thresholds,
            attributes=attributes,
            largest_side=side,
            recognisability=recognisability(source.folder, sha256_of(source.original(self._recogniser.model_file))),
        )

    @property
    def info(self) -> EngineInfo:
        """Identity of this engine."""
        return self._info

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Return all detected faces, the largest box first."""
        height, width = image.shape[:2]
        # a strip so thin that it has no pixels at the detector's size would make OpenCV fail
        planned = planned_sizes(search, self._sizes, fixed=self._fixed)
        sizes = [size for size in planned if max(height, width) < min(size) * min(height, width)]
        if not sizes:
            return []
        least = self._thresholds.detection if search.threshold is None else search.threshold
        boxes, points = self._detector.detect(image, input_size=sizes, det_thresh=least)
        faces = [
            Detection(box=tuple(row[:4]), landmarks=tuple(map(tuple, landmarks)), score=min(1.0, row[4]))
            for row, landmarks in zip(boxes.tolist(), points.tolist(), strict=True)
        ]
        return sorted(faces, key=lambda face: -face.area)

    def align(self, image: Image, faces: Sequence[Detection]) -> Crops:
        """Return aligned crops of these faces, in order."""
        crops: Crops = np.empty((len(faces), self._side, self._side, 3), np.uint8)
        for face, crop in zip(faces, crops, strict=True):
            crop[:] = face_align.norm_crop(image, np.array(face.landmarks, np.float32), self._side)
        return crops

    def embed(self, crops: Crops) -> Vectors:
        """Return raw embeddings of aligned faces, in order; shape (len(crops), dimension), float32."""
        vectors = [np.asarray(self._recogniser.get_feat(crop), np.float32).reshape(1, -1) for crop in crops]
        return np.concatenate(vectors) if vectors else np.empty((0, self._info.embedding_size), np.float32)

    def liveness(self, image: Image, face: Detection) -> float | None:
        """Return the probability that the face is live; None if too little of its surroundings is in the image.

        Raises:
            JobError: `liveness_unavailable` if the pack has no liveness model.
        """
        return self._liveness.read(image, face)

    def attributes(self, image: Image, faces: Sequence[Detection], names: Sequence[AttributeName]) -> list[Attributes]:
        """Return the named attributes of these faces, in order."""
        return [self._attributes(image, face, names) for face in faces]

    def _attributes(self, image: Image, face: Detection, names: Sequence[AttributeName]) -> Attributes:
        reading = Face(bbox=np.array(face.box, np.float32), kps=np.array(face.landmarks, np.float32))
        for task in {TASKS[name] for name in names}:
            self._models[task].get(image, reading)
        aged = "age_gender" in names
        return Attributes(
            age=float(reading.age) if aged else None,
            gender=("male" if reading.gender == MALE else "female") if aged else None,
            landmarks_106=_points(reading.landmark_2d_106) if "landmarks_106" in names else None,
            landmarks_68=_points(reading.landmark_3d_68) if "landmarks_68" in names else None,
            pose=_pose(reading) if "pose" in names else None,
        )

    def _dimension(self, source: LibraryPack) -> int:
        """Return the dimension of an embedding by running the recogniser."""
        try:
            return int(self._recogniser.get_feat(np.zeros((self._side, self._side, 3), np.uint8)).size)
        except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions share no base but this
            raise load_error(source, error) from None

    def _warm_up(self) -> None:
        try:
            warm_up(self)
        except SettingsError:
            raise
        except Exception as error:  # noqa: BLE001 - the library raises the errors of its dependencies
            msg = f"The model pack {self._info.pack} fails its first run in insightface: {reason_of(error)}"
            raise SettingsError(msg) from None


def _reader(folder: Path, file: PackFile, device: Device) -> Any:
    return READERS[str(file.preprocessing)](open_session(prepared(folder, file, provider=device.provider), device))


def _pose(reading: Any) -> HeadPose:
    pitch, yaw, roll = reading.pose.tolist()
    return HeadPose(pitch=pitch, yaw=yaw, roll=roll, method="landmarks_68")


def _points(rows: Any) -> Any:
    return tuple(map(tuple, rows.tolist()))
