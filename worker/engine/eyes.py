"""Find 68 points of a face, and read whether its eyes are open."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.engine.base import Image
from worker.engine.blobs import grey, scaled
from worker.engine.boxes import stretched
from worker.engine.session import Session

POINTS: Final = 68
POINTS_SIDE: Final = 64
EYE_SIDE: Final = 24
ROOM: Final = 1.6
"""Side of the square around an eye, relative to the width of the eye."""
EYES: Final = (36, 42)
"""Index of the first of the six points of each eye: corner, two on the upper lid, corner, two on the lower lid."""
LEAST_SIDE: Final = 4
"""Minimum side of that square, in pixels; a smaller one shows nothing."""
_OF_256: Final = scaled(mean=0.0, scale=1 / 256)
_UNIT: Final = scaled(mean=0.0, scale=1 / 255)

Points68 = NDArray[np.float64]
"""Points as x, y in pixels of the image; shape (68, 2)."""


class PointsModel:
    """The 68-point model of a pack (`stretched-1.0-grey-64`). Thread-safe."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self, image: Image, box: tuple[float, float, float, float]) -> Points68:
        """Return the points of the face in this box."""
        left, top, right, bottom = stretched(box, room=1.0, image=image)
        crop = np.asarray(cv2.resize(image[top:bottom, left:right], (POINTS_SIDE, POINTS_SIDE)), np.uint8)
        shares = self._session.run(grey([crop], _OF_256))[0].reshape(POINTS, 2).astype(np.float64)
        points: Points68 = shares * (right - left, bottom - top) + (left, top)
        return points


class EyesModel:
    """The open-eye model of a pack (`eye-1.6-grey-24`). Thread-safe."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self, image: Image, points: Points68) -> tuple[float, float] | None:
        """Return the probabilities that the left and right eye in the picture are open; None if one is too small.

        Output 0 of the model is "shut".
        """
        squares = [_square(points[first : first + 6], image=image) for first in EYES]
        if any(side < LEAST_SIDE for _, _, side in squares):
            return None
        eyes = [image[top : top + side, left : left + side] for left, top, side in squares]
        batch = grey([np.asarray(cv2.resize(eye, (EYE_SIDE, EYE_SIDE)), np.uint8) for eye in eyes], _UNIT)
        batches = [batch] if self._session.input_shape[0] is None else [batch[:1], batch[1:]]
        shut, opened = np.concatenate([self._session.run(part)[0] for part in batches]).astype(np.float64).T
        left, right = (1 / (1 + np.exp(shut - opened))).tolist()
        return left, right


def _square(eye: Points68, *, image: Image) -> tuple[int, int, int]:
    """Return left, top and side, in pixels, of the square around the six points of an eye; smaller at the border."""
    height, width = image.shape[:2]
    side = int((eye[3, 0] - eye[0, 0]) * ROOM)
    x, y = eye[[1, 2, 4, 5]].mean(axis=0)
    left, top = max(int(int(x) - side / 2), 0), max(int(int(y) - side / 2), 0)
    return left, top, min(side, width - left - 1, height - top - 1)
