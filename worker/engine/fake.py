"""A deterministic engine without models, for trying out a deployment and for testing everything around an engine."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.engine.align import SIZE as CROP
from worker.engine.base import (
    AS_THE_PACK_SAYS,
    AttributeName,
    Attributes,
    Crops,
    Detection,
    EngineInfo,
    HeadPose,
    Image,
    Search,
    Vectors,
)
from worker.packs.recognisability import Measure
from worker.packs.thresholds import Thresholds

BRIGHT: Final = 200
LEAST_SIDE: Final = 12
SIZE: Final = 512
LIKENESS: Final = 20.0
"""Distance of two BGR colors at which the cosine of their embeddings is about exp(-1/2) = 0.61."""
UNRECOGNISABLE: Final = (110, 255, 215)
"""BGR color of faces that cannot be recognised, a light green; it includes colors up to about 30 away."""
LENGTH: Final = 20.0
"""Length of every raw embedding."""
PLACES: Final = ((0.3, 0.35), (0.7, 0.35), (0.5, 0.55), (0.35, 0.75), (0.65, 0.75))
"""The five points of a frontal face, as shares of its box."""
DEPTH: Final = 0.3
"""How far the nose protrudes, as a share of the box."""
HALF_EYE: Final = 0.1
"""Half the side of the square that represents an eye, as a share of the shorter side of the box."""

_DICE: Final = np.random.default_rng(20_240_101)
_WAVES: Final = _DICE.normal(0.0, 1.0 / LIKENESS, (SIZE, 3))
_PHASES: Final = _DICE.uniform(0.0, 2.0 * np.pi, SIZE)


class FakeEngine:
    """Treats bright regions as faces, and derives everything else from their mean color.

    - A face is a connected region of at least 12x12 pixels with a gray level above 200; dark dots inside it may
      represent features. Its box is the bounding box of the region.
    - Its score falls from 1.0 at white to 0.5 at gray 200.
    - Its embedding depends on its color: equal colors have cosine 1, colors 60 apart about 0 (random Fourier features
      of a Gaussian kernel, Rahimi and Recht 2007, so that JPEG noise has little effect).
    - It cannot be recognised (`degraded`) if it is light green: within 30 of BGR (110, 255, 215).
    - Its liveness is three times the share of blue in its color, at most 1.0: white is live, yellow is a spoof.
    - Its pose depends on its outline, like that of a turned card: 90 degrees times the share by which its right edge is
      shorter than the left (yaw), and its top edge shorter than the bottom (pitch). Its nose moves accordingly.
    - An eye is open to the extent that the square in its place is bright, fully from half of the square on.

    It needs no model and never raises `model_failure`.
    """

    @property
    def info(self) -> EngineInfo:
        """Identity of this engine."""
        return EngineInfo(
            pack="fake",
            contract="vultus-emb-fake-v1",
            provider="CPUExecutionProvider",
            embedding_size=SIZE,
            liveness_model="fake-blue-share",
            thresholds=Thresholds(detection=0.5, match=0.5, live=0.5, spoof=0.3, register_score=0.65),
            attributes=("pose", "eyes"),
            recognisability=_MEASURE,
        )

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Return every bright region with at least this score, the largest box first. Sizes are ignored."""
        least = self.info.thresholds.detection if search.threshold is None else search.threshold
        faces = []
        for outline in _outlines(_bright(image)):
            left, top, width, height = cv2.boundingRect(outline)
            if min(width, height) < LEAST_SIDE:
                continue
            box = (float(left), float(top), float(left + width), float(top + height))
            score = float(min(1.0, 0.5 + 0.5 * (_grey(_colour(image, box)) - BRIGHT) / (255 - BRIGHT)))
            if score >= least:
                faces.append(Detection(box=box, landmarks=_landmarks(box, _pose(image, box)), score=score))
        return sorted(faces, key=lambda face: (-face.area, face.box[1], face.box[0]))

    def align(self, image: Image, faces: Sequence[Detection]) -> Crops:
        """Return squares of the faces' mean colors, in order."""
        crops: Crops = np.empty((len(faces), CROP, CROP, 3), np.uint8)
        for face, crop in zip(faces, crops, strict=True):
            crop[:] = np.rint(_colour(image, face.box))
        return crops

    def embed(self, crops: Crops) -> Vectors:
        """Return embeddings of the colors, in the order of the crops; shape (len(crops), 512), float32."""
        vectors = [LENGTH * _direction(crop[0, 0]) for crop in crops]
        return np.array(vectors, np.float32).reshape(len(crops), SIZE)

    def liveness(self, image: Image, face: Detection) -> float:
        """Return three times the share of blue, at most 1.0."""
        colour = _colour(image, face.box)
        return float(min(1.0, 3.0 * colour[0] / max(1.0, colour.sum())))

    def attributes(self, image: Image, faces: Sequence[Detection], names: Sequence[AttributeName]) -> list[Attributes]:
        """Return pose and eyes if requested."""
        return [
            Attributes(
                pose=_pose(image, face.box) if "pose" in names else None,
                eyes=_eyes(image, face.box) if "eyes" in names else None,
            )
            for face in faces
        ]


def _direction(colour: NDArray[Any] | tuple[int, int, int]) -> NDArray[np.float64]:
    """Return the unit embedding of a BGR color."""
    row = np.cos(_WAVES @ colour + _PHASES)
    return np.asarray(row / np.linalg.norm(row))


_MEASURE: Final = Measure(centroids=(tuple(_direction(UNRECOGNISABLE).tolist()),), max_similarity=0.3)


def _colour(image: Image, box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Return the mean BGR of the bright pixels in a box; black if there is none."""
    left, top, right, bottom = (max(0, round(value)) for value in box)
    region = image[top:bottom, left:right]
    if region.size == 0:
        return np.zeros(3)
    return np.array(cv2.mean(region, mask=_bright(region))[:3])


def _bright(region: Image) -> NDArray[np.uint8]:
    """Return 1 for bright pixels, else 0; shape (height, width)."""
    return np.asarray(cv2.cvtColor(region, cv2.COLOR_BGR2GRAY) > BRIGHT, np.uint8)


def _outlines(bright: NDArray[np.uint8]) -> Iterator[NDArray[Any]]:
    """Yield the outer border of every connected region of ones, as points (x, y); shape (points, 1, 2) each."""
    borders, relations = cv2.findContours(bright, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for number, border in enumerate(borders):
        if relations[0, number, 3] < 0:  # the border of a hole has a parent
            yield border


def _pose(image: Image, box: tuple[float, float, float, float]) -> HeadPose:
    """Return the pose of a card whose edges appear as long as those of this region."""
    left, top, right, bottom = map(int, box)
    bright = _bright(image[top:bottom, left:right])
    borders, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outline = cv2.fillConvexPoly(np.zeros_like(bright), cv2.convexHull(np.concatenate(borders)), 1.0)
    angles = []
    for plane in (outline, outline.T):
        places = np.arange(plane.shape[1])
        slope, begin = np.polyfit(places, plane.sum(axis=0), 1)
        end = begin + slope * places[-1]
        angles.append(round(float(90.0 * (begin - end) / max(begin, end, 1.0)), 2))
    yaw, pitch = angles
    return HeadPose(pitch=-pitch, yaw=yaw, roll=0.0, method="model")


def _eyes(image: Image, box: tuple[float, float, float, float]) -> tuple[float, float]:
    left, top, right, bottom = box
    half = max(1, round(min(right - left, bottom - top) * HALF_EYE))
    left_eye, right_eye = ((round(left + x * (right - left)), round(top + y * (bottom - top))) for x, y in PLACES[:2])

    def opened(x: int, y: int) -> float:
        return min(1.0, 2.0 * float(_bright(image[y - half : y + half, x - half : x + half]).mean()))

    return opened(*left_eye), opened(*right_eye)


def _grey(colour: NDArray[np.float64]) -> float:
    """Return the gray value of a BGR color, weighted like OpenCV (ITU-R BT.601)."""
    return float(colour @ (0.114, 0.587, 0.299))


def _landmarks(box: tuple[float, float, float, float], pose: HeadPose) -> tuple[tuple[float, float], ...]:
    x1, y1, x2, y2 = box
    left_eye, right_eye, (across, down), *mouth = PLACES
    nose = (across + DEPTH * math.sin(math.radians(pose.yaw)), down - DEPTH * math.sin(math.radians(pose.pitch)))
    return tuple((x1 + x * (x2 - x1), y1 + y * (y2 - y1)) for x, y in (left_eye, right_eye, nose, *mouth))
