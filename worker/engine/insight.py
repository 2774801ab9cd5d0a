"""The production engine: the models of an InsightFace pack, one stage each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shared.errors import SettingsError
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
from worker.engine.detector import Detector
from worker.engine.devices import Device
from worker.engine.passive import READERS, Ensemble
from worker.engine.recogniser import Recogniser
from worker.engine.session import Session
from worker.engine.sessions import open_session
from worker.engine.warm_up import warm_up
from worker.packs import manifests
from worker.packs.manifests import Manifest, PackFile, Role
from worker.packs.prepare import prepared

FACES_AT_ONCE: Final = 8
"""Faces of one job per run: on a CPU, eight gain 10 % and more gain nothing."""
FRAME_BUCKETS: Final = (1, 2, 4, 8)
FACE_BUCKETS: Final = (1, 4, 8, 16, 32)
"""Batch sizes across jobs on a GPU: few and fixed, so that memory use stays constant."""
ATTRIBUTES: Final = tuple(INPUTS)


class InsightEngine:
    """Loaded and warmed-up models of one pack. Immutable after construction, thread-safe."""

    def __init__(self, models_dir: Path, *, pack: str, device: Device) -> None:
        """Check, load and warm up the pack. Never downloads.

        Raises:
            SettingsError: the pack is missing or corrupt, a model does not match the manifest, or the requested device
                cannot run it.
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
        self._liveness = Ensemble(
            [
                READERS[str(file.preprocessing)](self._sessions.of(file, FACE_BUCKETS))
                for file in manifest.files_of("liveness")
            ],
            pack=manifest.name,
        )
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
            coarse_to_fine=self._detector.takes_any_size,
        )
        self._warm_up()

    @property
    def info(self) -> EngineInfo:
        """Identity of this engine."""
        return self._info

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Return all detected faces, the largest box first."""
        return self._detector.detect(image, search)

    def align(self, image: Image, faces: Sequence[Detection]) -> Crops:
        """Return aligned crops of these faces, in order."""
        return align.crops(image, faces)

    def embed(self, crops: Crops) -> Vectors:
        """Return raw embeddings of aligned faces, in order; shape (len(crops), dimension), float32."""
        return self._recogniser.embed(crops)

    def liveness(self, image: Image, face: Detection) -> float | None:
        """Return the probability that the face is live; None if too little of its surroundings is in the image.

        Raises:
            JobError: `liveness_unavailable` if the pack has no liveness model.
        """
        return self._liveness.read(image, face)

    def attributes(self, image: Image, faces: Sequence[Detection], names: Sequence[AttributeName]) -> list[Attributes]:
        """Return the named attributes of these faces, in order."""
        return self._attributes.read(image, faces, names)

    def _warm_up(self) -> None:
        warm_up(self)


class _Sessions:
    """Opens the models of a pack by role."""

    def __init__(self, folder: Path, manifest: Manifest, device: Device) -> None:
        self._folder = folder
        self._manifest = manifest
        self._device = device

    def needed(self, role: Role, buckets: tuple[int, ...]) -> Session:
        """Return the model of a role that every pack needs."""
        session = self.optional(role, buckets)
        if session is None:
            msg = f"The model pack {self._manifest.name} has no {role} model"
            raise SettingsError(msg)
        return session

    def optional(self, role: Role, buckets: tuple[int, ...]) -> Session | None:
        """Return the model of a role, or None."""
        file = self._manifest.file(role)
        return None if file is None else self.of(file, buckets)

    def of(self, file: PackFile, buckets: tuple[int, ...]) -> Session:
        """Open a model file; batch calls across jobs if the device gains by it and the graph takes batches."""
        graph = prepared(self._folder, file, provider=self._device.provider)
        session = open_session(graph, self._device)
        takes_batches = session.input_shape[0] is None
        return MicroBatcher(session, buckets=buckets) if self._device.batching and takes_batches else session
