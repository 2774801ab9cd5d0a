"""Cards that the fake engine takes for heads: their edges give the rotation, their color the identity."""

from dataclasses import dataclass, replace
from typing import Any, Self

import cv2
import numpy as np

from shared.liveness_sessions import Step

WHITE, PINK, WALL = (255, 255, 255), (255, 200, 255), (40, 40, 40)
WIDTH, HEIGHT = 640, 480


@dataclass(frozen=True)
class Card:
    """A bright card in front of a dark wall."""

    yaw: float = 0.0
    pitch: float = 0.0
    size: float = 160.0
    narrow: float = 1.0
    """Width as a share of the original while both edges stay equally long: a photo that is tilted by hand."""
    colour: tuple[int, int, int] = WHITE
    number: int = 0
    """Number of the picture: hands and heads are never in the same place twice."""

    def posed(self, **changed: Any) -> Self:
        """The same card in the next picture."""
        return replace(self, number=self.number + 1, **changed)

    def jpeg(self) -> bytes:
        """The picture as JPEG."""
        image = np.full((HEIGHT, WIDTH, 3), WALL, np.uint8)
        x, y = 320 + self.number * 7 % 60, 240 + self.number * 5 % 40
        half, high = self.size / 2 * self.narrow, self.size / 2
        left, right = (high * min(1.0, 1 + side * self.yaw / 90) for side in (1, -1))
        top, bottom = (half * min(1.0, 1 + side * self.pitch / 90) for side in (-1, 1))
        corners = np.array([(x - top, y - left), (x + top, y - right), (x + bottom, y + right), (x - bottom, y + left)])
        cv2.fillPoly(image, [np.rint(corners).astype(np.int32)], self.colour)
        return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def movement(step: Step) -> dict[str, float]:
    """How a card moves when this step is requested."""
    return {
        Step.LOOK_STRAIGHT: {},
        Step.TURN_LEFT: {"yaw": 38.0},
        Step.TURN_RIGHT: {"yaw": -38.0},
        Step.LOOK_UP: {"pitch": 28.0},
        Step.COME_CLOSER: {"size": 240.0},
    }[step]
