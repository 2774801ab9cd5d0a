"""The stages that operations are made of, each timed: detect, align, embed, liveness, attributes."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np

from shared.errors import ErrorCode, JobError
from shared.faces import AttributeName, Embedding, FaceAttributes, Liveness
from shared.operations import FindParams
from worker.engine.align import SIZE
from worker.engine.base import Attributes, Crops, Detection, Engine, EngineInfo, HeadPose, Search
from worker.engine.five_points import five_point_pose
from worker.images import Picture, min_long_side_for
from worker.operations import answers, choosing, readable

HEAD: Final[tuple[AttributeName, ...]] = ("pose", "eyes")
DECIMALS: Final = 8
"""Of the numbers of a unit vector: what float32 holds of them. All digits of a float64 would double the result, the
ledger's memory for it and what is written to its disk; the cosine of two vectors moves by less than 1e-7."""

Stage = Literal["decode", "detect", "align", "embed", "liveness", "attributes"]


class Clock(Protocol):
    """Times one stage of a job."""

    def __call__(self, stage: Stage, /) -> AbstractContextManager[None]:
        """Add the time of the block to this stage."""


@dataclass(frozen=True, slots=True)
class Work:
    """One decoded job: its pictures, and the means to analyse them.

    What the engine finds is in `Picture.pixels`, which may be a fraction of the image; `answers` turns it into
    positions in the whole image.
    """

    engine: Engine
    clock: Clock
    image: Picture
    reference: Picture | None = None
    extra_images: tuple[Picture, ...] = ()
    """Further images of the same person."""
    verify_threshold: float | None = None
    """The operator's, in place of the pack's."""

    def find(self, picture: Picture, params: FindParams) -> list[Detection]:
        """The faces of one picture that are large enough, the largest first, at most `max_faces`."""
        search = Search(threshold=params.det_threshold, sizes=params.det_size)
        with self.clock("detect"):
            found = self.engine.detect(picture.pixels, search)
        return choosing.kept(found, picture, least_side=params.min_face_px, most=params.max_faces)

    def in_detail(self, picture: Picture, faces: Sequence[Detection]) -> tuple[Picture, list[Detection]]:
        """What to read these faces from, and where they are in it: the whole picture where one has become too small.

        Below the side of the recogniser's crop the fraction that was enough to find a face misses what is in the
        file: at 40 pixels an embedding keeps 0.95 of its cosine to the one from the whole picture, at 28 0.84, and
        liveness moves by up to 0.7 (docs/decisions/0011).
        """
        if not picture.reduced or all(choosing.shorter_side(face) >= SIZE for face in faces):
            return picture, list(faces)
        with self.clock("decode"):
            return picture.whole(), [answers.enlarged(picture, face) for face in faces]

    def align(self, picture: Picture, faces: Sequence[Detection]) -> Crops:
        """These faces upright and to scale, in their order."""
        with self.clock("align"):
            return self.engine.align(picture.pixels, faces)

    def embed(self, crops: Crops, faces: Sequence[Detection]) -> list[Embedding]:
        """One embedding for each crop, in their order, all in one run: crops of several pictures may be joined.

        `faces` are what the crops were cut from, in the same order; each embedding says whether its face can be
        recognised.

        Raises:
            JobError: `model_failure` where the recogniser gives a vector without a length.
        """
        if not len(crops):
            return []
        with self.clock("embed"):
            raw = self.engine.embed(crops).astype(np.float64)
        lengths = np.linalg.norm(raw, axis=1)
        if not lengths.all():
            raise JobError(ErrorCode.MODEL_FAILURE, "The recognition model gave a vector of zeros.")
        units = np.round(raw / lengths[:, None], DECIMALS).tolist()
        contract = self.engine.info.contract
        judged = self.engine.info.recognisability.judge(raw, [five_point_pose(face).roll for face in faces])
        return [
            Embedding(vector=unit, length=length, contract=contract, recognisability=recognisability)
            for unit, length, recognisability in zip(units, lengths.tolist(), judged, strict=True)
        ]

    def liveness(self, picture: Picture, face: Detection, *, threshold: float | None = None) -> Liveness:
        """The reading: at or above the limit live, below the pack's spoof limit spoof, between the two uncertain.

        A face that no model could judge, too small, a profile or cut by the border, is rejected.
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
        """How the head is turned, by five points where the pack has no model; how open the eyes are, if it can tell."""
        names: list[AttributeName] = [name for name in HEAD if name in self.engine.info.attributes]
        told = Attributes()
        if names:
            with self.clock("attributes"):
                [told] = self.engine.attributes(picture.pixels, [face], names)
        return told.pose or five_point_pose(face), told.eyes

    def attributes(
        self, picture: Picture, faces: Sequence[Detection], names: Sequence[AttributeName]
    ) -> list[FaceAttributes]:
        """What the models named say of these faces, in their order."""
        with self.clock("attributes"):
            said = self.engine.attributes(picture.pixels, faces, names)
        return [answers.attributes(picture, each) for each in said]


def min_long_side(params: FindParams, info: EngineInfo) -> int | None:
    """The long side that pictures of a job are worth reading at; None is all of it."""
    return None if params.full_size else usual_side(params, info)


def usual_side(params: FindParams, info: EngineInfo) -> int:
    """The long side that is read unless a job sets `full_size`."""
    return min_long_side_for(params.det_size or (info.largest_side,))
