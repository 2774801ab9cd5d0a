"""The operations on every face: detect finds them, embed adds embeddings, analyze adds all that the pack can say."""

from collections.abc import Sequence

from shared.errors import ErrorCode, JobError
from shared.faces import AttributeName, FaceAttributes, Liveness
from shared.operations import AnalyzeParams, FacesResult, FindParams
from worker.engine.base import Detection, EngineInfo
from worker.images import Picture
from worker.operations import answers, views
from worker.operations.choosing import selected
from worker.operations.work import Work


def detect(params: FindParams, work: Work) -> FacesResult:
    """Where the faces are."""
    return answers.faces(
        work.image, [answers.face(work.image, face, clamp=params.clamp_boxes) for face in _meant(params, work)]
    )


def embed(params: FindParams, work: Work) -> FacesResult:
    """Where the faces are, with an embedding each."""
    picture, found = work.in_detail(work.image, _meant(params, work))
    vectors = work.embed(work.align(picture, found), found) if found else []
    return answers.faces(
        picture,
        [answers.face(picture, f, embedding=v, clamp=params.clamp_boxes) for f, v in zip(found, vectors, strict=True)],
    )


def analyze(params: AnalyzeParams, work: Work) -> FacesResult:
    """Where the faces are, with embedding, liveness and attributes as far as the pack has models for them.

    Raises:
        JobError: `attribute_unavailable` where the pack cannot tell an attribute that was asked for by name.
    """
    names = _names(params, work.engine.info)
    meant = _meant(params, work)
    picture, found = work.in_detail(work.image, meant)
    vectors = work.embed(work.align(picture, found), found) if found else []
    readings = _readings(meant, params, work, detailed=picture)
    said: Sequence[FaceAttributes | None] = [None] * len(found)
    if found and names:
        said = work.attributes(picture, found, names)
    return answers.faces(
        picture,
        [
            answers.face(picture, f, embedding=v, liveness=live, attributes=a, clamp=params.clamp_boxes)
            for f, v, live, a in zip(found, vectors, readings, said, strict=True)
        ],
    )


def _meant(params: FindParams, work: Work) -> list[Detection]:
    return selected(work.find(work.image, params), work.image, select=params.select)


def _readings(faces: Sequence[Detection], params: FindParams, work: Work, *, detailed: Picture) -> list[Liveness]:
    if work.engine.info.liveness_model is None:
        return [Liveness(outcome="not_evaluated", reason="the pack has no liveness model")] * len(faces)
    seen = views.usual(work.image, faces, params, work, detailed=detailed)
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
