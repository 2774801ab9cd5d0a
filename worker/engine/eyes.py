"""Finds 68 points of a face and reads from them whether its eyes are open."""

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
"""Side of the square around an eye, in widths of the eye."""
EYES: Final = (36, 42)
"""First of the six points of each eye: corner, two of the upper lid, corner, two of the lower lid."""
LEAST_SIDE: Final = 4
"""Pixels of that square; nothing can be seen in a smaller one."""
_OF_256: Final = scaled(mean=0.0, scale=1 / 256)
_UNIT: Final = scaled(mean=0.0, scale=1 / 255)

Points68 = NDArray[np.float64]
"""Points as x, y in the pixels of the image; shape (68, 2)."""


class PointsModel:
    """The model of 68 points of a pack (`stretched-1.0-grey-64`). Safe for several threads."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self, image: Image, box: tuple[float, float, float, float]) -> Points68:
        """The points of the face in this box."""
        left, top, right, bottom = stretched(box, room=1.0, image=image)
        crop = np.asarray(cv2.resize(image[top:bottom, left:right], (POINTS_SIDE, POINTS_SIDE)), np.uint8)
        told = self._session.run(grey([crop], _OF_256))[0].reshape(POINTS, 2).astype(np.float64)
        points: Points68 = told * (right - left, bottom - top) + (left, top)
        return points


class EyesModel:
    """The model of open and shut eyes of a pack (`eye-1.6-grey-24`). Safe for several threads."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self, image: Image, points: Points68) -> tuple[float, float] | None:
        """Chances that the eye at the picture's left is open, and the one at its right; None where one is too small.

        The model's output 0 is shut.
        """
        squares = [_square(points[first : first + 6], image=image) for first in EYES]
        if any(side < LEAST_SIDE for _, _, side in squares):
            return None
        eyes = [image[top : top + side, left : left + side] for left, top, side in squares]
        batch = grey([np.asarray(cv2.resize(eye, (EYE_SIDE, EYE_SIDE)), np.uint8) for eye in eyes], _UNIT)
        together = [batch] if self._session.input_shape[0] is None else [batch[:1], batch[1:]]
        shut, opened = np.concatenate([self._session.run(part)[0] for part in together]).astype(np.float64).T
        left, right = (1 / (1 + np.exp(shut - opened))).tolist()
        return left, right


def _square(eye: Points68, *, image: Image) -> tuple[int, int, int]:
    """Left, top and side in pixels of the square around the six points of an eye; smaller at the border."""
    height, width = image.shape[:2]
    side = int((eye[3, 0] - eye[0, 0]) * ROOM)
    x, y = eye[[1, 2, 4, 5]].mean(axis=0)
    left, top = max(int(int(x) - side / 2), 0), max(int(int(y) - side / 2), 0)
    return left, top, min(side, width - left - 1, height - top - 1)
