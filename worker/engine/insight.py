"""The real engine: the models of an InsightFace pack, each behind its own stage."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from shared.errors import ErrorCode, JobError, SettingsError
from worker.engine import align
from worker.engine.attributes import INPUTS, AttributeReader
from worker.engine.base import (
    AS_THE_PACK_SAYS,
    AttributeName,
    Attributes,
    Crops,
    Detection,
    EngineInfo,
    Image,
    Search,
    Vectors,
)
from worker.engine.batching import MicroBatcher
from worker.engine.describe import described
from worker.engine.detector import GREY, Detector
from worker.engine.devices import Device
from worker.engine.passive import READERS, Ensemble
from worker.engine.recogniser import Recogniser
from worker.engine.session import Session
from worker.engine.sessions import open_session
from worker.packs import manifests
from worker.packs.manifests import Manifest, PackFile, Role
from worker.packs.prepare import prepared

FACES_AT_ONCE: Final = 8
"""Faces of one job in one run: on a CPU eight gain 10 % and more gain nothing."""
FRAME_BUCKETS: Final = (1, 2, 4, 8)
FACE_BUCKETS: Final = (1, 4, 8, 16, 32)
"""Batch sizes across jobs, on a GPU: few and fixed, so that its memory stays flat."""
ATTRIBUTES: Final = tuple(INPUTS)


class InsightEngine:
    """Loaded, warmed models of one pack. Nothing changes after the constructor: safe for several threads."""

    def __init__(self, models_dir: Path, *, pack: str, device: Device) -> None:
        """Check, load and warm the pack. Never downloads.

        Raises:
            SettingsError: the pack is missing or damaged, a model is not what the manifest says, or the device that
                was asked for cannot run it.
        """
        manifest = manifests.installed(models_dir, pack)
        self._sessions = _Sessions((models_dir / pack).absolute(), manifest, device)
        self._detector = Detector(
            self._sessions.needed("detection", FRAME_BUCKETS),
            manifest.detection,
            threshold=manifest.thresholds.detection,
            trimmed=not device.is_gpu,
        )
        self._recogniser = Recogniser(
            self._sessions.needed("recognition", FACE_BUCKETS),
            dimension=manifest.embedding_size,
            batch=max(FACE_BUCKETS) if device.batching else FACES_AT_ONCE,
        )
        judges = manifest.files_of("liveness")
        readers = [READERS[str(file.preprocessing)](self._sessions.of(file, FACE_BUCKETS)) for file in judges]
        self._liveness = Ensemble(readers) if readers else None
        self._attributes = AttributeReader(
            {name: session for name in ATTRIBUTES if (session := self._sessions.optional(name, FACE_BUCKETS))}
        )
        self._info = described(
            manifest,
            folder=models_dir / pack,
            contract=manifest.contract(device.precision),
            provider=self._detector.provider,
            attributes=self._attributes.names,
            largest_side=self._detector.largest_side,
        )
        self._warm_up()

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""
        return self._info

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Every face that the search finds, the largest box first."""
        return self._detector.detect(image, search)

    def align(self, image: Image, faces: Sequence[Detection]) -> Crops:
        """These faces cut out, upright and to scale, in their order."""
        return align.crops(image, faces)

    def embed(self, crops: Crops) -> Vectors:
        """Raw embeddings of aligned faces, in their order; shape (len(crops), dimension), float32."""
        return self._recogniser.embed(crops)

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
        return self._attributes.read(image, faces, names)

    def _warm_up(self) -> None:
        """Run every model once, so that the first job pays for no allocation; the shapes are checked on the way."""
        side = self._detector.largest_side
        image = np.full((side, side, 3), GREY, np.uint8)
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
        if size != self._info.embedding_size:
            msg = (
                "The model pack does not fit this engine: "
                f"the recogniser gives {size} numbers, not what the manifest says"
            )
            raise SettingsError(msg)


class _Sessions:
    """Opens the models of a pack by their role."""

    def __init__(self, folder: Path, manifest: Manifest, device: Device) -> None:
        self._folder = folder
        self._manifest = manifest
        self._device = device

    def needed(self, role: Role, buckets: tuple[int, ...]) -> Session:
        """The model of a role that every pack has."""
        session = self.optional(role, buckets)
        if session is None:
            msg = f"The model pack {self._manifest.name} has no {role} model"
            raise SettingsError(msg)
        return session

    def optional(self, role: Role, buckets: tuple[int, ...]) -> Session | None:
        """The model of a role, or None; joined across jobs where the device gains by it and the graph takes batches."""
        file = self._manifest.file(role)
        return None if file is None else self.of(file, buckets)

    def of(self, file: PackFile, buckets: tuple[int, ...]) -> Session:
        """The model of a file."""
        graph = prepared(self._folder, file, provider=self._device.provider)
        session = open_session(graph, self._device)
        takes_batches = session.input_shape[0] is None
        return MicroBatcher(session, buckets=buckets) if self._device.batching and takes_batches else session
