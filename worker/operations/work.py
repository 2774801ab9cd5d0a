"""The timed stages shared by all operations: detect, align, embed, liveness, attributes."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import numpy as np

from shared.errors import ErrorCode, JobError
from shared.faces import AttributeName, Embedding, FaceAttributes, Liveness
from shared.operations import DetectionMode, DetectionWay, FindParams, SelectiveParams
from worker.engine.align import SIZE
from worker.engine.base import Attributes, Crops, Detection, Engine, EngineInfo, HeadPose, Search
from worker.engine.five_points import five_point_pose
from worker.images import Picture, min_long_side_for
from worker.operations import answers, choosing, coarse_to_fine, readable

HEAD: Final[tuple[AttributeName, ...]] = ("pose", "eyes")
DECIMALS: Final = 8
"""Decimals of a unit vector's components, matching float32. All digits of a float64 would double the size of the result
in the ledger's memory and on its disk. The cosine of two vectors changes by less than 1e-7."""

Stage = Literal["decode", "detect", "align", "embed", "liveness", "attributes"]


class Clock(Protocol):
    """Times one stage of a job."""

    def __call__(self, stage: Stage, /) -> AbstractContextManager[None]:
        """Add the time of the block to this stage."""


@dataclass(frozen=True, slots=True)
class Work:
    """One decoded job: its pictures, and the engine to analyze them.

    The engine returns positions in `Picture.pixels`, which may be a reduced image; `answers` converts them to positions
    in the whole image.
    """

    engine: Engine
    clock: Clock
    image: Picture
    reference: Picture | None = None
    extra_images: tuple[Picture, ...] = ()
    """Further images of the same person."""
    verify_threshold: float | None = None
    """The operator's threshold, which overrides the pack's."""
    detection: DetectionMode = "full"
    """The operator's way of detection, unless the job names one."""
    ways: list[DetectionMode] = field(default_factory=list)
    """How each picture was searched, in order."""

    def find(self, picture: Picture, params: FindParams) -> list[Detection]:
        """Return the faces of one picture that are large enough, largest first, at most `max_faces`.

        An operation that does not need all faces uses coarse-to-fine detection if it is enabled and sufficient.
        """
        search = Search(threshold=params.det_threshold, sizes=params.det_size)
        with self.clock("detect"):
            found = self._find_coarsely(picture, params)
            self.ways.append("full" if found is None else "coarse_to_fine")
            if found is None:
                found = self.engine.detect(picture.pixels, search)
        return choosing.kept(found, picture, least_side=params.min_face_px, most=params.max_faces)

    def _find_coarsely(self, picture: Picture, params: FindParams) -> list[Detection] | None:
        if not isinstance(params, SelectiveParams) or (params.detection or self.detection) == "full":
            return None
        if not coarse_to_fine.is_worthwhile(params, self.engine.info):
            return None
        return coarse_to_fine.detect(self.engine, picture, params)

    @property
    def way(self) -> DetectionWay | None:
        """How the pictures were searched so far; None if none was."""
        ways = set(self.ways)
        return "mixed" if len(ways) > 1 else next(iter(ways), None)

    def in_detail(self, picture: Picture, faces: Sequence[Detection]) -> tuple[Picture, list[Detection]]:
        """Return the picture to read these faces from and their positions in it; the whole picture if one is too small.

        If a face is smaller than the recogniser's crop, the reduced picture that was enough to detect it lacks detail:
        the cosine to the embedding from the whole picture is 0.95 at 40 pixels and 0.84 at 28, and the liveness score
        changes by up to 0.7 (docs/decisions/0011).
        """
        if not picture.reduced or all(choosing.shorter_side(face) >= SIZE for face in faces):
            return picture, list(faces)
        with self.clock("decode"):
            return picture.whole(), [answers.enlarged(picture, face) for face in faces]

    def align(self, picture: Picture, faces: Sequence[Detection]) -> Crops:
        """Return aligned crops of these faces, in order."""
        with self.clock("align"):
            return self.engine.align(picture.pixels, faces)

    def embed(self, crops: Crops, faces: Sequence[Detection]) -> list[Embedding]:
        """Embed all crops in one model run, in order; crops of several pictures may be combined.

        `faces` are the detections that the crops were cut from, in the same order. Each embedding states whether its
        face can be recognised.

        Raises:
            JobError: `model_failure` if the recogniser returns a zero vector.
        """
        if not len(crops):
            return []
        with self.clock("embed"):
            raw = self.engine.embed(crops).astype(np.float64)
        lengths = np.linalg.norm(raw, axis=1)
        if not lengths.all():
            raise JobError(ErrorCode.MODEL_FAILURE, "The recognition model returned a vector of zeros.")
        units = np.round(raw / lengths[:, None], DECIMALS).tolist()
        contract = self.engine.info.contract
        judged = self.engine.info.recognisability.judge(raw, [five_point_pose(face).roll for face in faces])
        return [
            Embedding(vector=unit, length=length, contract=contract, recognisability=recognisability)
            for unit, length, recognisability in zip(units, lengths.tolist(), judged, strict=True)
        ]

    def liveness(self, picture: Picture, face: Detection, *, threshold: float | None = None) -> Liveness:
        """Read liveness: live at or above the limit, spoof below the pack's spoof limit, uncertain in between.

        A face that no model can judge (too small, in profile, or cut by the border) is rejected.
        """
        limits = self.engine.info.thresholds
        live = limits.live if threshold is None else threshold
        with self.clock("liveness"):
            score = self.engine.liveness(picture.pixels, face)
        reason = readable.rejection(picture, face)
        outcome: Literal["live", "spoof", "uncertain", "input_rejected"] = "uncertain"
        if score is None or reason is not None:
            outcome, reason = "input_rejected", reason or "cut_by_border"
        elif score >= live:
            outcome = "live"
        elif score < min(limits.spoof, live):
            outcome = "spoof"
        model = self.engine.info.liveness_model
        return Liveness(outcome=outcome, score=score, threshold=live, model=model, reason=reason)

    def head(self, picture: Picture, face: Detection) -> tuple[HeadPose, tuple[float, float] | None]:
        """Return the head pose, from five points if the pack has no model, and the eye openness if available."""
        names: list[AttributeName] = [name for name in HEAD if name in self.engine.info.attributes]
        attributes = Attributes()
        if names:
            with self.clock("attributes"):
                [attributes] = self.engine.attributes(picture.pixels, [face], names)
        return attributes.pose or five_point_pose(face), attributes.eyes

    def attributes(
        self, picture: Picture, faces: Sequence[Detection], names: Sequence[AttributeName]
    ) -> list[FaceAttributes]:
        """Return the named attributes of these faces, in order."""
        with self.clock("attributes"):
            values = self.engine.attributes(picture.pixels, faces, names)
        return [answers.attributes(picture, each) for each in values]


def min_long_side(params: FindParams, info: EngineInfo) -> int | None:
    """Return the long side at which the pictures of a job are decoded; None means full size."""
    return None if params.full_size else usual_side(params, info)


def usual_side(params: FindParams, info: EngineInfo) -> int:
    """Return the long side at which pictures are decoded unless a job sets `full_size`."""
    return min_long_side_for(params.det_size or (info.largest_side,))
