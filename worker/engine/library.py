"""Runs a pack through insightface's own `FaceAnalysis`: the reference of our stages, and the way for unknown packs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from insightface.app.common import Face
from insightface.utils import face_align

from shared.errors import ErrorCode, JobError, SettingsError
from worker.engine import align
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
from worker.engine.devices import OPENVINO, Device
from worker.engine.library_files import LibraryPack, library_pack
from worker.engine.library_models import TASKS, embedding_contract, load_error, load_models, reason_of
from worker.engine.passive import READERS, Ensemble
from worker.engine.sessions import open_session
from worker.packs.manifests import PackFile, sha256_of
from worker.packs.prepare import prepared, recognisability
from worker.packs.thresholds import Thresholds

THRESHOLDS: Final = Thresholds(detection=0.5, match=0.4, live=0.5, spoof=0.3, register_score=0.6)
"""Limits of a pack without a manifest: the library's own detection and match defaults. None of them was measured."""
SIZES: Final = ((128, 128), (640, 640))
"""Squares that the library looks at by default; those of a pack without a manifest."""
MALE: Final = 1


class LibraryEngine:
    """A pack in `FaceAnalysis`, one library call for each stage. Nothing changes after the constructor.

    Detection, alignment, recognition and attributes are the library's own code; passive liveness is our reader, where
    the pack has a manifest with a liveness file. The library looks once: it has no second look with a border.
    """

    def __init__(self, models_dir: Path, *, pack: str, device: Device) -> None:
        """Check, load and warm the pack. Never downloads.

        Raises:
            SettingsError: the pack is missing or damaged, the library cannot load it, or the device that was asked for
                cannot run it.
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
        judges = manifest.files_of("liveness") if manifest else ()
        self._liveness = Ensemble([_reader(source.folder, file, device) for file in judges]) if judges else None
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
        """What this engine is."""
        return self._info

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Every face that the search finds, the largest box first."""
        height, width = image.shape[:2]
        # of a strip so thin nothing is left at the detector's size, and the library would ask OpenCV for no pixels
        sizes = [size for size in self._wanted(search) if max(height, width) < min(size) * min(height, width)]
        if not sizes:
            return []
        least = self._thresholds.detection if search.threshold is None else search.threshold
        boxes, points = self._detector.detect(image, input_size=sizes, det_thresh=least)
        faces = [
            Detection(box=tuple(row[:4]), landmarks=tuple(map(tuple, landmarks)), score=min(1.0, row[4]))
            for row, landmarks in zip(boxes.tolist(), points.tolist(), strict=True)
        ]
        return sorted(faces, key=lambda face: -face.area)

    def _wanted(self, search: Search) -> Sequence[tuple[int, int]]:
        if search.sizes is None:
            return self._sizes
        wanted = [(side, side) for side in search.sizes]
        if self._fixed is not None and any(size != self._fixed for size in wanted):
            width, height = self._fixed
            raise JobError(
                ErrorCode.INVALID_REQUEST,
                f"The detector of this model pack takes {width}x{height} alone; leave det_size out.",
            )
        return wanted

    def align(self, image: Image, faces: Sequence[Detection]) -> Crops:
        """These faces cut out, upright and to scale, in their order."""
        crops: Crops = np.empty((len(faces), self._side, self._side, 3), np.uint8)
        for face, crop in zip(faces, crops, strict=True):
            crop[:] = face_align.norm_crop(image, np.array(face.landmarks, np.float32), self._side)
        return crops

    def embed(self, crops: Crops) -> Vectors:
        """Raw embeddings of aligned faces, in their order; shape (len(crops), dimension), float32."""
        vectors = [np.asarray(self._recogniser.get_feat(crop), np.float32).reshape(1, -1) for crop in crops]
        return np.concatenate(vectors) if vectors else np.empty((0, self._info.embedding_size), np.float32)

    def liveness(self, image: Image, face: Detection) -> float | None:
        """Chance from 0 to 1 that the face is live; None where too little of its surroundings is in the image.

        Raises:
            JobError: `liveness_unavailable` where the pack has no liveness model.
        """
        if self._liveness is None:
            raise JobError(
                ErrorCode.LIVENESS_UNAVAILABLE, f"The model pack {self._info.pack} has no passive liveness model."
            )
        return self._liveness.read(image, face)

    def attributes(self, image: Image, faces: Sequence[Detection], names: Sequence[AttributeName]) -> list[Attributes]:
        """What the models named say of these faces, in their order."""
        return [self._attributes(image, face, names) for face in faces]

    def _attributes(self, image: Image, face: Detection, names: Sequence[AttributeName]) -> Attributes:
        answer = Face(bbox=np.array(face.box, np.float32), kps=np.array(face.landmarks, np.float32))
        for task in {TASKS[name] for name in names}:
            self._models[task].get(image, answer)
        aged = "age_gender" in names
        return Attributes(
            age=float(answer.age) if aged else None,
            gender=("male" if answer.gender == MALE else "female") if aged else None,
            landmarks_106=_points(answer.landmark_2d_106) if "landmarks_106" in names else None,
            landmarks_68=_points(answer.landmark_3d_68) if "landmarks_68" in names else None,
            pose=_pose(answer) if "pose" in names else None,
        )

    def _dimension(self, source: LibraryPack) -> int:
        """Numbers of an embedding, by running the recogniser."""
        try:
            return int(self._recogniser.get_feat(np.zeros((self._side, self._side, 3), np.uint8)).size)
        except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions share no base but this
            raise load_error(source, error) from None

    def _warm_up(self) -> None:
        """Run every model once, so that the first job pays for no allocation; the shapes are checked on the way."""
        side = self._info.largest_side
        image = np.full((side, side, 3), 127, np.uint8)
        corner = side / 4
        points = tuple((corner + x, corner + y) for x, y in align.TEMPLATE.tolist())
        face = Detection(box=(corner, corner, corner + align.SIZE, corner + align.SIZE), landmarks=points, score=1.0)
        try:
            self.detect(image)
            size = self.embed(self.align(image, [face])).shape[1]
            self.attributes(image, [face], self._info.attributes)
            if self._liveness is not None:
                self._liveness.read(image, face)
        except JobError as error:
            msg = f"The model pack {self._info.pack} fails its first run: {error.detail}"
            raise SettingsError(msg) from None
        except Exception as error:  # noqa: BLE001 - the library raises what its libraries raise
            msg = f"The model pack {self._info.pack} fails its first run in insightface: {reason_of(error)}"
            raise SettingsError(msg) from None
        if size != self._info.embedding_size:
            msg = f"The recogniser of {self._info.pack} gives {size} numbers, not what the manifest says"
            raise SettingsError(msg)


def _reader(folder: Path, file: PackFile, device: Device) -> Any:
    return READERS[str(file.preprocessing)](open_session(prepared(folder, file, provider=device.provider), device))


def _pose(answer: Any) -> HeadPose:
    pitch, yaw, roll = answer.pose.tolist()
    return HeadPose(pitch=pitch, yaw=yaw, roll=roll, method="landmarks_68")


def _points(rows: Any) -> Any:
    return tuple(map(tuple, rows.tolist()))
