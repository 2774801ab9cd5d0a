"""Rotate and scale a face to the position that a model expects."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.engine.base import Crops, Detection, Image

SIZE: Final = 112
TEMPLATE: Final = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Positions of the five points in a 112x112 crop for ArcFace."""

Points = NDArray[np.float64]
"""Points as x, y; shape (points, 2)."""


def similarity(landmarks: Points, template: Points = TEMPLATE) -> NDArray[np.float64]:
    """Return the least-squares similarity transform, without reflection, from points to a template; shape (2, 3).

    In complex numbers it is linear regression, w = a*z + b, with a closed form: the result of Umeyama (1991) without a
    singular value decomposition. Points that all coincide produce a crop of a single color.
    """
    points, target = (side[:, 0] + 1j * side[:, 1] for side in (landmarks, template))
    mean, target_mean = points.mean(), target.mean()
    centred = points - mean
    spread = np.vdot(centred, centred).real
    a = np.vdot(centred, target - target_mean) / spread if spread > 0 else 0j
    b = target_mean - a * mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def crops(image: Image, faces: Sequence[Detection]) -> Crops:
    """Return 112x112 crops of these faces, aligned by their five points, in order; black outside the image."""
    aligned: Crops = np.empty((len(faces), SIZE, SIZE, 3), np.uint8)
    for face, crop in zip(faces, aligned, strict=True):
        matrix = similarity(np.array(face.landmarks, np.float64))
        cv2.warpAffine(image, matrix, (SIZE, SIZE), dst=crop, borderValue=0.0)
    return aligned
