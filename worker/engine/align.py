"""Turns a face upright and to scale for the recogniser."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.engine.base import Image

SIZE: Final = 112
TEMPLATE: Final = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where ArcFace expects the five points in a crop of 112x112."""

_TARGET: Final = TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]
_TARGET_MEAN: Final = _TARGET.mean()
_TARGET_CENTRED: Final = _TARGET - _TARGET_MEAN


def similarity(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares turn, scale and shift (no mirror) of five points onto the template; shape (2, 3).

    In complex numbers it is the straight line w = a*z + b, which has a closed form: the same answer as Umeyama (1991)
    without a singular value decomposition. Points that all coincide give a crop of one colour.
    """
    points = landmarks[:, 0] + 1j * landmarks[:, 1]
    mean = points.mean()
    centred = points - mean
    spread = np.vdot(centred, centred).real
    a = np.vdot(centred, _TARGET_CENTRED) / spread if spread > 0 else 0j
    b = _TARGET_MEAN - a * mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def crop(image: Image, landmarks: tuple[tuple[float, float], ...]) -> Image:
    """The face with these five points, upright at 112x112, BGR; black where it reaches over the border."""
    matrix = similarity(np.array(landmarks, np.float64))
    return np.asarray(cv2.warpAffine(image, matrix, (SIZE, SIZE), borderValue=0.0), np.uint8)
