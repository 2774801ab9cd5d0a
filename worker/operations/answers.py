"""Convert detections to results, in pixels of the whole upright image."""

from collections.abc import Sequence
from typing import Final

from shared.faces import Box, Embedding, Eyes, Face, FaceAttributes, Liveness, Pose, Quality
from shared.results import MAX_OTHER_FACES, FacesResult, ImageInfo, OtherFace
from worker.engine import base
from worker.engine.base import Detection
from worker.engine.quality import measure
from worker.images import Picture
from worker.operations.choosing import Other

SHARE_DECIMALS: Final = 3


def face(
    picture: Picture,
    found: Detection,
    *,
    quality: Quality | None = None,
    liveness: Liveness | None = None,
    embedding: Embedding | None = None,
    attributes: FaceAttributes | None = None,
    clamp: bool = False,
) -> Face:
    """Build the result of one face. The quality is measured unless given; `clamp` limits the box to the picture."""
    whole = enlarged(picture, found)
    return Face(
        box=clamped(picture, whole.box) if clamp else whole.box,
        landmarks=list(whole.landmarks),
        score=found.score,
        quality=quality or quality_of(picture, found),
        liveness=liveness,
        embedding=embedding,
        attributes=attributes,
    )


def faces(picture: Picture, found: list[Face]) -> FacesResult:
    """Build the result of an operation on all faces."""
    return FacesResult(
        image=ImageInfo(width=picture.width, height=picture.height, orientation=picture.turn), faces=found
    )


def others(picture: Picture, found: Sequence[Other], *, clamp: bool) -> list[OtherFace]:
    """List the most prominent of the faces that were not chosen."""
    listed = []
    for other in found[:MAX_OTHER_FACES]:
        box = enlarged(picture, other.face).box
        listed.append(
            OtherFace(
                box=clamped(picture, box) if clamp else box,
                score=other.face.score,
                prominence=round(other.prominence, SHARE_DECIMALS),
                reason=other.reason,
            )
        )
    return listed


def clamped(picture: Picture, box: Box) -> Box:
    """Limit a box, in pixels of the whole image, to the image; a box outside becomes empty on the border."""
    x1, y1, x2, y2 = box
    width, height = float(picture.width), float(picture.height)
    return (
        min(max(x1, 0.0), width),
        min(max(y1, 0.0), height),
        min(max(x2, 0.0), width),
        min(max(y2, 0.0), height),
    )


def enlarged(picture: Picture, found: Detection) -> Detection:
    """Convert a face to pixels of the whole image."""
    across, down = picture.scale
    x1, y1, x2, y2 = found.box
    return Detection(
        box=(x1 * across, y1 * down, x2 * across, y2 * down),
        landmarks=tuple((x * across, y * down) for x, y in found.landmarks),
        score=found.score,
    )


def quality_of(picture: Picture, found: Detection) -> Quality:
    """Measure the quality of a face; its width is in pixels of the whole image."""
    measured = measure(picture.pixels, found)
    return measured.model_copy(update={"face_width_px": measured.face_width_px * picture.scale[0]})


def attributes(picture: Picture, values: base.Attributes) -> FaceAttributes:
    """Convert the attributes to the whole image; depth is scaled like the width."""
    across, down = picture.scale
    outline, solid, sparse = values.landmarks_106, values.landmarks_68, values.points_68
    return FaceAttributes(
        age=values.age,
        gender=values.gender,
        landmarks_106=None if outline is None else [(x * across, y * down) for x, y in outline],
        landmarks_68=None if solid is None else [(x * across, y * down, z * across) for x, y, z in solid],
        points_68=None if sparse is None else [(x * across, y * down) for x, y in sparse],
        pose=None if values.pose is None else Pose(**values.pose._asdict()),
        eyes=None if values.eyes is None else Eyes(left=values.eyes[0], right=values.eyes[1]),
    )
