"""Reads age, gender, denser points, pose and eyes: what a pack has models for beyond detection and recognition."""

import math
import pickle
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import SettingsError
from worker.engine.base import AttributeName, Attributes, Detection, HeadPose, Image
from worker.engine.blobs import planar, scaled
from worker.engine.eyes import EYE_SIDE, POINTS_SIDE, EyesModel, PointsModel
from worker.engine.head import SIDE as POSE_SIDE
from worker.engine.head import HeadPoseModel
from worker.engine.session import Session

ROOM: Final = 1.5
"""Side of the square that a model sees, in longer sides of the face's box."""
OUTPUTS: Final[dict[AttributeName, int]] = {"age_gender": 3, "landmarks_106": 212, "landmarks_68": 3309}
"""Numbers that each of InsightFace's models gives for a face."""
INPUTS: Final[dict[AttributeName, tuple[int, int | None]]] = {
    "age_gender": (3, None),
    "landmarks_106": (3, None),
    "landmarks_68": (3, None),
    "points_68": (1, POINTS_SIDE),
    "pose": (3, POSE_SIDE),
    "eyes": (1, EYE_SIDE),
}
"""Planes that each model takes, and the side of its square where that is fixed."""
_TABLE: Final = scaled(mean=0.0, scale=1.0)
"""InsightFace's models scale their input by themselves."""


class AttributeReader:
    """The attribute models of a pack. Safe for several threads."""

    def __init__(self, sessions: Mapping[AttributeName, Session]) -> None:
        """Take the models that the pack has.

        Raises:
            SettingsError: a model does not take square images of the kind that its name stands for.
        """
        for name, session in sessions.items():
            planes, side = INPUTS[name]
            _, channels, height, width = session.input_shape
            if channels != planes or height is None or height != width or side not in {None, height}:
                msg = f"The model pack does not fit this engine: {session.name} is no {name} model"
                raise SettingsError(msg)
        self._sessions = dict(sessions)
        self._head = HeadPoseModel(sessions["pose"]) if "pose" in sessions else None
        self._points = PointsModel(sessions["points_68"]) if "points_68" in sessions else None
        self._eyes = EyesModel(sessions["eyes"]) if "eyes" in sessions else None

    @property
    def names(self) -> tuple[AttributeName, ...]:
        """Attributes that can be asked for; the 68 points with depth give a pose as well."""
        by_depth = "landmarks_68" in self._sessions and "pose" not in self._sessions
        return (*self._sessions, "pose") if by_depth else tuple(self._sessions)

    def read(self, image: Image, faces: Sequence[Detection], names: Sequence[AttributeName]) -> list[Attributes]:
        """What the models named say of each face, in the order of the faces."""
        return [self._read_one(image, face, names) for face in faces]

    def _read_one(self, image: Image, face: Detection, names: Sequence[AttributeName]) -> Attributes:
        needed = {"landmarks_68" if name == "pose" and self._head is None else name for name in names}
        told = {name: self._run(image, face, name) for name in OUTPUTS if name in needed}
        age, gender = _age_and_gender(told["age_gender"][0]) if "age_gender" in told else (None, None)
        outline = _landmarks(*told["landmarks_106"], dimensions=2) if "landmarks_106" in told else None
        solid = _landmarks(*told["landmarks_68"], dimensions=3) if "landmarks_68" in told else None
        sparse = self._points.read(image, face.box) if self._points and needed & {"points_68", "eyes"} else None
        turn = None if solid is None else pose(solid)
        if self._head is not None and "pose" in needed:
            turn = self._head.read(image, face.box)
        return Attributes(
            age=age,
            gender=gender,
            landmarks_106=None if outline is None else tuple((x, y) for x, y in outline.tolist()),
            landmarks_68=None
            if solid is None or "landmarks_68" not in names
            else tuple((x, y, z) for x, y, z in solid.tolist()),
            points_68=None if sparse is None or "points_68" not in names else tuple((x, y) for x, y in sparse.tolist()),
            pose=turn,
            eyes=None
            if sparse is None or self._eyes is None or "eyes" not in names
            else self._eyes.read(image, sparse),
        )

    def _run(
        self, image: Image, face: Detection, name: AttributeName
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], int]:
        """What a model gives for a face, how the image was brought into its square, and the square's side."""
        session = self._sessions[name]
        side = session.input_shape[-1] or 0
        matrix = square(face.box, side=side)
        crop = np.asarray(cv2.warpAffine(image, matrix, (side, side), borderValue=0.0), np.uint8)
        return session.run(planar([crop], _TABLE, order="rgb"))[0].reshape(-1), matrix, side


def square(box: tuple[float, float, float, float], *, side: int) -> NDArray[np.float64]:
    """The upright square around a box, 1.5 times its longer side, brought to `side` pixels; shape (2, 3)."""
    x1, y1, x2, y2 = box
    scale = side / (max(x2 - x1, y2 - y1, 1e-6) * ROOM)
    return np.array([
        [scale, 0.0, side / 2 - scale * (x1 + x2) / 2],
        [0.0, scale, side / 2 - scale * (y1 + y2) / 2],
    ])  # fmt: skip


def _age_and_gender(told: NDArray[np.float32]) -> tuple[float, Literal["female", "male"]]:
    female, male, age = told.tolist()
    return float(round(age * 100)), "male" if male > female else "female"


def _landmarks(
    told: NDArray[np.float32], matrix: NDArray[np.float64], side: int, *, dimensions: int
) -> NDArray[np.float64]:
    """Points from -1..1 of the model's square back into the pixels of the image; the last 68 of a denser mesh."""
    points = told.reshape(-1, dimensions).astype(np.float64)
    if dimensions == 3:  # noqa: PLR2004 - x, y and depth
        points = points[-68:]
    half = side // 2
    points[:, :2] = (points[:, :2] + 1) * half
    scale = matrix[0, 0]
    points[:, :2] = (points[:, :2] - matrix[:, 2]) / scale
    if dimensions == 3:  # noqa: PLR2004 - as above
        points[:, 2] *= half / scale
    return points


def pose(points: NDArray[np.float64]) -> HeadPose:
    """The turn of a head by its 68 points with depth, shape (68, 3).

    The affine camera that brings the mean face onto the points (least squares), its first two rows made a rotation,
    read as Euler angles.
    """
    known = np.hstack([mean_face(), np.ones((68, 1))])
    camera = np.linalg.lstsq(known, points, rcond=None)[0].T
    right, down = (row / np.linalg.norm(row) for row in camera[:2, :3])
    turn = np.array([right, down, np.cross(right, down)])
    level = math.hypot(turn[0, 0], turn[1, 0])
    if level < 1e-6:  # noqa: PLR2004 - looking straight up or down: roll and yaw are one
        angles = math.atan2(-turn[1, 2], turn[1, 1]), math.atan2(-turn[2, 0], level), 0.0
    else:
        angles = (
            math.atan2(turn[2, 1], turn[2, 2]),
            math.atan2(-turn[2, 0], level),
            math.atan2(turn[1, 0], turn[0, 0]),
        )
    pitch, yaw, roll = map(math.degrees, angles)
    return HeadPose(pitch=pitch, yaw=yaw, roll=roll, method="landmarks_68")


@cache
def mean_face() -> NDArray[np.float64]:
    """The mean of 68 points that the model was trained with, shape (68, 3), from insightface's own files."""
    spec = find_spec("insightface")
    places = list(spec.submodule_search_locations or []) if spec else []
    path = Path(places[0], "data", "objects", "meanshape_68.pkl") if places else None
    if path is None or not path.is_file():
        msg = "landmarks_68 needs the mean face that the insightface package ships; install insightface"
        raise SettingsError(msg)
    return np.asarray(pickle.loads(path.read_bytes()), np.float64)  # noqa: S301 - a file of our own locked dependency
