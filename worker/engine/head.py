"""Read the head pose with a Hopenet (Ruiz et al., 2018), which sorts each angle into 66 bins of 3 degrees."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.engine.base import HeadPose, Image
from worker.engine.blobs import Table, planar, scaled
from worker.engine.boxes import stretched
from worker.engine.session import Session

SIDE: Final = 224
ROOM: Final = 1.5
"""Width and height of the model's input, relative to the face's box."""
BINS: Final = 66
LEAST: Final = -97.5
"""Center of the first bin, in degrees. With its edge, -99, a face and its mirror image add up to -2.9 instead of 0 (yaw
and roll, median of 85 faces)."""
ERROR: Final = 4.0
"""Nine of ten of 29 portraits are within this of their mirror image: 2.3 degrees of yaw, 3.4 of pitch, 2.0 of roll."""
_TABLE: Final[Table] = np.stack([
    scaled(mean=255 * mean, scale=1 / (255 * deviation))
    for mean, deviation in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
])  # fmt: skip
"""ImageNet mean and standard deviation of red, green and blue, which such models expect."""


class HeadPoseModel:
    """The pose model of a pack (`stretched-1.5-rgb-224`). Thread-safe."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self, image: Image, box: tuple[float, float, float, float]) -> HeadPose:
        """Return the pose of the head in this box."""
        left, top, right, bottom = stretched(box, room=ROOM, image=image)
        crop = np.asarray(cv2.resize(image[top:bottom, left:right], (SIDE, SIDE)), np.uint8)
        yaw, pitch, roll = (_angle(output[0]) for output in self._session.run(planar([crop], _TABLE, order="rgb")))
        return HeadPose(pitch=pitch, yaw=-yaw, roll=roll, method="model", error=ERROR)


def _angle(logits: NDArray[np.float32]) -> float:
    """Return the expected angle in degrees: the bin centers weighted by their probabilities."""
    odds = np.exp(logits.astype(np.float64) - logits.max())
    return float(odds @ np.arange(BINS) / odds.sum() * 3 + LEAST)
