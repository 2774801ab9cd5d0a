"""Says what was found in the words of a result, in pixels of the whole upright image."""

from shared.faces import Embedding, Eyes, Face, FaceAttributes, Liveness, Pose, Quality
from shared.operations import FacesResult, ImageInfo
from worker.engine import base
from worker.engine.base import Detection
from worker.engine.quality import measure
from worker.images import Picture


def face(
    picture: Picture,
    found: Detection,
    *,
    quality: Quality | None = None,
    liveness: Liveness | None = None,
    embedding: Embedding | None = None,
    attributes: FaceAttributes | None = None,
) -> Face:
    """One face; its quality is measured here where it was not before."""
    whole = enlarged(picture, found)
    return Face(
        box=whole.box,
        landmarks=list(whole.landmarks),
        score=found.score,
        quality=quality or quality_of(picture, found),
        liveness=liveness,
        embedding=embedding,
        attributes=attributes,
    )


def faces(picture: Picture, found: list[Face]) -> FacesResult:
    """The answer of an operation about every face."""
    return FacesResult(image=ImageInfo(width=picture.width, height=picture.height), faces=found)


def enlarged(picture: Picture, found: Detection) -> Detection:
    """The same face in pixels of the whole image."""
    across, down = picture.scale
    x1, y1, x2, y2 = found.box
    return Detection(
        box=(x1 * across, y1 * down, x2 * across, y2 * down),
        landmarks=tuple((x * across, y * down) for x, y in found.landmarks),
        score=found.score,
    )


def quality_of(picture: Picture, found: Detection) -> Quality:
    """How well a face can be seen; its width is in pixels of the whole image."""
    measured = measure(picture.pixels, found)
    return measured.model_copy(update={"face_width_px": measured.face_width_px * picture.scale[0]})


def attributes(picture: Picture, said: base.Attributes) -> FaceAttributes:
    """What the attribute models said; depth is scaled as the width is."""
    across, down = picture.scale
    outline, solid, sparse = said.landmarks_106, said.landmarks_68, said.points_68
    return FaceAttributes(
        age=said.age,
        gender=said.gender,
        landmarks_106=None if outline is None else [(x * across, y * down) for x, y in outline],
        landmarks_68=None if solid is None else [(x * across, y * down, z * across) for x, y, z in solid],
        points_68=None if sparse is None else [(x * across, y * down) for x, y in sparse],
        pose=None if said.pose is None else Pose(**said.pose._asdict()),
        eyes=None if said.eyes is None else Eyes(left=said.eyes[0], right=said.eyes[1]),
    )
