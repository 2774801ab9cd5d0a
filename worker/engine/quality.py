"""Measures how well a face can be seen: signals with a unit, no verdicts."""

import cv2

from shared.faces import Quality
from worker.engine.base import Detection, Image

SHARPNESS_SIDE = 128


def measure(image: Image, detection: Detection) -> Quality:
    """Width in pixels, sharpness and mean grey of a face; zero sharpness and brightness for a box outside the image.

    Sharpness is the variance of the Laplacian of the grey face at 128x128. On raw pixels it says little: a sharp
    12-megapixel portrait reads 7-12 there, about as low as a blurred small one.
    """
    x1, _, x2, _ = detection.box
    left, top, right, bottom = (max(0, round(side)) for side in detection.box)
    face = image[top:bottom, left:right]
    if face.size == 0:
        return Quality(face_width_px=max(0.0, x2 - x1), sharpness=0.0, brightness=0.0)
    grey = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (SHARPNESS_SIDE, SHARPNESS_SIDE))
    return Quality(
        face_width_px=x2 - x1,
        sharpness=float(cv2.meanStdDev(cv2.Laplacian(small, cv2.CV_64F))[1][0, 0]) ** 2,
        brightness=cv2.mean(grey)[0],
    )
