"""Decides which of the faces that were found are kept, counted and meant."""

from dataclasses import dataclass

from shared.operations import FaceReason, OneFaceParams, Select
from worker.engine.base import Detection
from worker.images import Picture


@dataclass(frozen=True, slots=True)
class Chosen:
    """The one face that an operation is about, or why there is none."""

    face: Detection | None
    count: int
    """Faces that were counted, before one was chosen."""

    @property
    def reason(self) -> FaceReason:
        """Why there is no face; only to be asked then."""
        return "multiple_faces" if self.count else "no_face"


def kept(found: list[Detection], picture: Picture, *, least_side: float, most: int) -> list[Detection]:
    """The first `most` of the faces whose shorter side is at least `least_side` pixels of the whole image."""
    across, down = picture.scale
    large = (face for face in found if shorter_side(face, across=across, down=down) >= least_side)
    return list(large)[:most]


def selected(faces: list[Detection], picture: Picture, *, select: Select) -> list[Detection]:
    """All of these faces, or the one that is meant; none of none.

    The rule of `center` is insightface's own for `FaceAnalysis.get(max_num=1)`: area less twice the squared distance
    of the centres. A small face right in the middle loses against a large one beside it. Of equal ones the first wins.
    """
    if not faces or select == "all":
        return faces
    if select == "largest":
        return [max(faces, key=lambda face: face.area)]
    high, wide = map(int, picture.pixels.shape[:2])

    def weight(face: Detection) -> float:
        x1, y1, x2, y2 = face.box
        aside, off = (x1 + x2 - wide) / 2, (y1 + y2 - high) / 2
        return face.area - 2.0 * (aside * aside + off * off)

    return [max(faces, key=weight)]


def one(faces: list[Detection], picture: Picture, params: OneFaceParams) -> Chosen:
    """The face that counts as the one person of the picture.

    Bystanders far smaller than the largest face are not counted. With `select` at `all` several counted faces are
    none; otherwise one of them is chosen.
    """
    counted = [face for face in faces if face.area >= params.ignore_below * faces[0].area]
    meant = selected(counted, picture, select=params.select)
    return Chosen(face=meant[0] if len(meant) == 1 else None, count=len(counted))


def shorter_side(face: Detection, *, across: float = 1.0, down: float = 1.0) -> float:
    """The shorter side of a face's box, after scaling."""
    x1, y1, x2, y2 = face.box
    return min((x2 - x1) * across, (y2 - y1) * down)
