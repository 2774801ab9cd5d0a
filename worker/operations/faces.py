"""The operations on all faces: detect finds them, embed adds embeddings, analyze adds all available attributes."""

from collections.abc import Sequence
from typing import NamedTuple

from shared.errors import ErrorCode, JobError
from shared.faces import AttributeName, FaceAttributes, Liveness
from shared.operations import AnalyzeParams, FindParams
from shared.results import FacesResult
from worker.engine.base import Detection, EngineInfo
from worker.images import Picture
from worker.operations import answers, orientation, views
from worker.operations.choosing import selected
from worker.operations.work import Work


class Sight(NamedTuple):
    """A picture and faces in it."""

    picture: Picture
    faces: list[Detection]


def detect(params: FindParams, work: Work) -> FacesResult:
    """Detect the faces."""
    image, meant = _meant(params, work)
    return answers.faces(image, [answers.face(image, face, clamp=params.clamp_boxes) for face in meant])


def embed(params: FindParams, work: Work) -> FacesResult:
    """Detect the faces and embed each."""
    picture, found = work.in_detail(*_meant(params, work))
    vectors = work.embed(work.align(picture, found), found) if found else []
    return answers.faces(
        picture,
        [answers.face(picture, f, embedding=v, clamp=params.clamp_boxes) for f, v in zip(found, vectors, strict=True)],
    )


def analyze(params: AnalyzeParams, work: Work) -> FacesResult:
    """Detect the faces, with embedding, liveness and attributes as far as the pack has models for them.

    Raises:
        JobError: `attribute_unavailable` if the pack has no model for an explicitly requested attribute.
    """
    names = _names(params, work.engine.info)
    image, meant = _meant(params, work)
    picture, found = work.in_detail(image, meant)
    vectors = work.embed(work.align(picture, found), found) if found else []
    readings = _readings(image, meant, params, work, detailed=picture)
    attributes: Sequence[FaceAttributes | None] = [None] * len(found)
    if found and names:
        attributes = work.attributes(picture, found, names)
    return answers.faces(
        picture,
        [
            answers.face(picture, f, embedding=v, liveness=live, attributes=a, clamp=params.clamp_boxes)
            for f, v, live, a in zip(found, vectors, readings, attributes, strict=True)
        ],
    )


def _meant(params: FindParams, work: Work) -> Sight:
    """Return the selected faces and their picture, which `auto_orient` may have rotated."""

    def look(picture: Picture) -> Sight:
        return Sight(picture, selected(work.find(picture, params), picture, select=params.select))

    def largest(sight: Sight) -> tuple[Picture, Detection] | None:
        if not sight.faces:
            return None
        picture, [face] = work.in_detail(sight.picture, sight.faces[:1])
        return picture, face

    sight = look(work.image)
    if not params.auto_orient or _readable(largest(sight), work):
        return sight
    best = orientation.best(work.image, work, look=look, face_of=largest)
    return sight if best is None else best[0]


def _readable(found: tuple[Picture, Detection] | None, work: Work) -> bool:
    if found is None or orientation.on_its_side(found[1]):
        return False
    [embedding] = work.embed(work.align(found[0], [found[1]]), [found[1]])
    return not orientation.unrecognisable(embedding)


def _readings(
    image: Picture, faces: Sequence[Detection], params: FindParams, work: Work, *, detailed: Picture
) -> list[Liveness]:
    if work.engine.info.liveness_model is None:
        return [Liveness(outcome="not_evaluated", reason="the pack has no liveness model")] * len(faces)
    seen = views.usual(image, faces, params, work, detailed=detailed)
    return [work.liveness(view.picture, view.face) for view in seen]


def _names(params: AnalyzeParams, info: EngineInfo) -> Sequence[AttributeName]:
    if params.attributes is None:
        return info.attributes
    missing = [name for name in params.attributes if name not in info.attributes]
    if missing:
        raise JobError(
            ErrorCode.ATTRIBUTE_UNAVAILABLE, f"The model pack {info.pack} has no model for: {', '.join(missing)}."
        )
    return params.attributes
