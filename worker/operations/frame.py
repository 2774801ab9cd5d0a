"""The frame operation: everything that a liveness session needs from one picture, in one job."""

from typing import Final

import cv2
import numpy as np

from shared.faces import AttributeName
from shared.operations import FrameParams
from shared.results import FrameResult, ImageInfo
from worker.engine.base import Image
from worker.operations import answers, person
from worker.operations.work import Work

WANTED: Final[tuple[AttributeName, ...]] = ("pose", "eyes")
"""Attributes that reveal movements; those that the pack lacks are omitted."""
GRID: Final = 16


def frame(params: FrameParams, work: Work) -> FrameResult:
    """Embed the face, read its liveness, pose and eyes, and compute the picture's fingerprint.

    Raises:
        JobError: `liveness_unavailable` if the pack has no liveness model.
    """
    subject = person.find(work.image, params, work)
    image = ImageInfo(width=work.image.width, height=work.image.height)
    picture_mark = fingerprint(work.image.pixels)
    limit = work.engine.info.thresholds.match
    if subject.face is None:
        return FrameResult(
            image=image,
            reason=subject.reason,
            num_faces=subject.count,
            other_faces=subject.others,
            picture=picture_mark,
            match_threshold=limit,
        )
    picture, found = subject.picture, [subject.face]
    (embedding,) = work.embed(work.align(picture, found), found)
    names = [name for name in WANTED if name in work.engine.info.attributes]
    face = answers.face(
        picture,
        found[0],
        embedding=embedding,
        liveness=person.liveness(subject, params, work),
        attributes=work.attributes(picture, found, names)[0] if names else None,
        clamp=params.clamp_boxes,
    )
    return FrameResult(
        image=image,
        reason=None,
        num_faces=subject.count,
        face=face,
        other_faces=subject.others,
        picture=picture_mark,
        match_threshold=limit,
    )


def fingerprint(image: Image) -> str:
    """Return a 256-bit difference hash, which survives scaling and recompression.

    Each bit compares two horizontal neighbors of the gray picture at 17x16 pixels.
    """
    small = np.asarray(
        cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (GRID + 1, GRID), interpolation=cv2.INTER_AREA)
    )
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()
