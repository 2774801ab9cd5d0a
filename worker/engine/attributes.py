"""Read age, gender, dense landmarks, pose and eyes with the optional models of a pack."""

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
"""Side of the square input, relative to the longer side of the face's box."""
OUTPUTS: Final[dict[AttributeName, int]] = {"age_gender": 3, "landmarks_106": 212, "landmarks_68": 3309}
"""Number of outputs of each InsightFace model per face."""
INPUTS: Final[dict[AttributeName, tuple[int, int | None]]] = {
    "age_gender": (3, None),
    "landmarks_106": (3, None),
    "landmarks_68": (3, None),
    "points_68": (1, POINTS_SIDE),
    "pose": (3, POSE_SIDE),
    "eyes": (1, EYE_SIDE),
}
"""Number of input channels of each model, and the side of its square input if it is fixed."""
_TABLE: Final = scaled(mean=0.0, scale=1.0)
"""The InsightFace models scale their input themselves."""


class AttributeReader:
    """The attribute models of a pack. Thread-safe."""

    def __init__(self, sessions: Mapping[AttributeName, Session]) -> None:
        """Check the inputs of the models.

        Raises:
            SettingsError: a model does not take the square images that its attribute requires.
        """
        for name, session in sessions.items():
            planes, side = INPUTS[name]
            _, channels, height, width = session.input_shape
            if channels != planes or height is None or height != width or side not in {None, height}:
                msg = f"The model pack does not fit this engine: {session.name} cannot serve as {name} model"
                raise SettingsError(msg)
        self._sessions = dict(sessions)
        self._head = HeadPoseModel(sessions["pose"]) if "pose" in sessions else None
        self._points = PointsModel(sessions["points_68"]) if "points_68" in sessions else None
        self._eyes = EyesModel(sessions["eyes"]) if "eyes" in sessions else None

    @property
    def names(self) -> tuple[AttributeName, ...]:
        """Available attributes; the 68 points with depth also yield a pose."""
        by_depth = "landmarks_68" in self._sessions and "pose" not in self._sessions
        return (*self._sessions, "pose") if by_depth else tuple(self._sessions)

    def read(self, image: Image, faces: Sequence[Detection], names: Sequence[AttributeName]) -> list[Attributes]:
        """Return the named attributes of each face, in order."""
        return [self._read_one(image, face, names) for face in faces]

    def _read_one(self, image: Image, face: Detection, names: Sequence[AttributeName]) -> Attributes:
        needed = {"landmarks_68" if name == "pose" and self._head is None else name for name in names}
        outputs = {name: self._run(image, face, name) for name in OUTPUTS if name in needed}
        age, gender = _age_and_gender(outputs["age_gender"][0]) if "age_gender" in outputs else (None, None)
        outline = _landmarks(*outputs["landmarks_106"], dimensions=2) if "landmarks_106" in outputs else None
        solid = _landmarks(*outputs["landmarks_68"], dimensions=3) if "landmarks_68" in outputs else None
        sparse = self._points.read(image, face.box) if self._points and needed & {"points_68", "eyes"} else None
        head = None if solid is None else pose(solid)
        if self._head is not None and "pose" in needed:
            head = self._head.read(image, face.box)
        return Attributes(
            age=age,
            gender=gender,
            landmarks_106=None if outline is None else tuple((x, y) for x, y in outline.tolist()),
            landmarks_68=None
            if solid is None or "landmarks_68" not in names
            else tuple((x, y, z) for x, y, z in solid.tolist()),
            points_68=None if sparse is None or "points_68" not in names else tuple((x, y) for x, y in sparse.tolist()),
            pose=head,
            eyes=None
            if sparse is None or self._eyes is None or "eyes" not in names
            else self._eyes.read(image, sparse),
        )

    def _run(
        self, image: Image, face: Detection, name: AttributeName
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], int]:
        """Run a model on a face; return its output, the transform from image to crop, and the side of the crop."""
        session = self._sessions[name]
        side = session.input_shape[-1] or 0
        matrix = square(face.box, side=side)
        crop = np.asarray(cv2.warpAffine(image, matrix, (side, side), borderValue=0.0), np.uint8)
        return session.run(planar([crop], _TABLE, order="rgb"))[0].reshape(-1), matrix, side


def square(box: tuple[float, float, float, float], *, side: int) -> NDArray[np.float64]:
    """Return the transform from the upright square around a box to `side` pixels; shape (2, 3)."""
    x1, y1, x2, y2 = box
    scale = side / (max(x2 - x1, y2 - y1, 1e-6) * ROOM)
    return np.array([
        [scale, 0.0, side / 2 - scale * (x1 + x2) / 2],
        [0.0, scale, side / 2 - scale * (y1 + y2) / 2],
    ])  # fmt: skip


def _age_and_gender(outputs: NDArray[np.float32]) -> tuple[float, Literal["female", "male"]]:
    female, male, age = outputs.tolist()
    return float(round(age * 100)), "male" if male > female else "female"


def _landmarks(
    outputs: NDArray[np.float32], matrix: NDArray[np.float64], side: int, *, dimensions: int
) -> NDArray[np.float64]:
    """Convert points from -1..1 of the crop to pixels of the image; of a denser mesh, only the last 68."""
    points = outputs.reshape(-1, dimensions).astype(np.float64)
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
    """Return the pose of a head from its 68 points with depth, shape (68, 3).

    Fits the affine camera that maps the mean face to the points (least squares), turns its first two rows into a
    rotation, and returns the Euler angles.
    """
    mean = np.hstack([mean_face(), np.ones((68, 1))])
    camera = np.linalg.lstsq(mean, points, rcond=None)[0].T
    right, down = (row / np.linalg.norm(row) for row in camera[:2, :3])
    rotation = np.array([right, down, np.cross(right, down)])
    level = math.hypot(rotation[0, 0], rotation[1, 0])
    if level < 1e-6:  # noqa: PLR2004 - gimbal lock, looking straight up or down: roll and yaw cannot be separated
        angles = math.atan2(-rotation[1, 2], rotation[1, 1]), math.atan2(-rotation[2, 0], level), 0.0
    else:
        angles = (
            math.atan2(rotation[2, 1], rotation[2, 2]),
            math.atan2(-rotation[2, 0], level),
            math.atan2(rotation[1, 0], rotation[0, 0]),
        )
    pitch, yaw, roll = map(math.degrees, angles)
    return HeadPose(pitch=pitch, yaw=yaw, roll=roll, method="landmarks_68")


@cache
def mean_face() -> NDArray[np.float64]:
    """Return the mean face that the model was trained with, shape (68, 3), from the files of insightface."""
    spec = find_spec("insightface")
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = Path(folders[0], "data", "objects", "meanshape_68.pkl") if folders else None
    if path is None or not path.is_file():
        msg = "landmarks_68 needs the mean face from the insightface package; install insightface"
        raise SettingsError(msg)
    return np.asarray(pickle.loads(path.read_bytes()), np.float64)  # noqa: S301 - a file of a locked dependency
