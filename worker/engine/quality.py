"""Measure how well a face is visible: values with units, no verdicts."""

import cv2

from shared.faces import Quality
from worker.engine.base import Detection, Image

SHARPNESS_SIDE = 128


def measure(image: Image, detection: Detection) -> Quality:
    """Measure how well a face is visible; if its box lies outside the image, everything except its size is zero.

    Sharpness is the variance of the Laplacian of the gray face at 128x128. On raw pixels it is meaningless: a sharp
    12-megapixel portrait has 7-12 there, about as little as a blurred small one.
    """
    high, wide = image.shape[:2]
    x1, y1, x2, y2 = detection.box
    left, top, right, bottom = (max(0, round(side)) for side in detection.box)
    face = image[top:bottom, left:right]
    within = max(0.0, min(x2, wide) - max(x1, 0.0)) * max(0.0, min(y2, high) - max(y1, 0.0))
    sharpness = brightness = contrast = 0.0
    if face.size:
        grey = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
        small = cv2.resize(grey, (SHARPNESS_SIDE, SHARPNESS_SIDE))
        sharpness = float(cv2.meanStdDev(cv2.Laplacian(small, cv2.CV_64F))[1][0, 0]) ** 2
        mean, deviation = (float(number[0, 0]) for number in cv2.meanStdDev(grey))
        brightness, contrast = min(mean, 255.0), deviation  # the mean of a white face may round to just above 255
    return Quality(
        face_width_px=max(0.0, x2 - x1),
        sharpness=sharpness,
        brightness=brightness,
        contrast=contrast,
        face_share=detection.area / (high * wide),
        inside=min(1.0, within / detection.area) if detection.area else 0.0,
    )
