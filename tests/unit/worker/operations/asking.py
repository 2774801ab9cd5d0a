"""Runs operations with the fake engine: bright rectangles are faces, their colour is their identity."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from shared.faces import AttributeName
from shared.operations import Operation, parse_params
from worker import operations
from worker.engine.base import (
    AS_THE_PACK_SAYS,
    Attributes,
    Crops,
    Detection,
    Engine,
    EngineInfo,
    HeadPose,
    Image,
    Search,
    Vectors,
)
from worker.engine.fake import FakeEngine
from worker.images import Picture
from worker.operations import Work
from worker.packs.calibration import Calibration, Point, Population

Colour = tuple[int, int, int]
WHITE, YELLOW, PINK, GREEN = (255, 255, 255), (20, 255, 255), (255, 200, 255), (110, 255, 215)


def picture(*faces: tuple[tuple[int, int, int, int], Colour], fraction: int = 1) -> Picture:
    """A dark picture of 400x300 with one bright, speckled rectangle for each face (box, BGR colour).

    `fraction` says how many times larger the image was that it is read from.
    """
    image = np.full((300, 400, 3), 30, np.uint8)
    for (x1, y1, x2, y2), colour in faces:
        image[y1:y2, x1:x2] = colour
        image[y1 + 4 : y2 - 4 : 2, x1 + 4 : x2 - 4 : 2] = 10
    return Picture(image, 400 * fraction, 300 * fraction)


ONE = picture(((100, 50, 220, 200), WHITE))
TWO = picture(((30, 60, 170, 240), WHITE), ((200, 50, 360, 250), PINK))
NONE = picture()


@contextmanager
def no_clock(_stage: str) -> Iterator[None]:
    """Time nothing."""
    yield


def run(
    operation: Operation,
    image: Picture,
    *,
    reference: Picture | None = None,
    extra_images: Sequence[Picture] = (),
    engine: Engine | None = None,
    verify_threshold: float | None = None,
    **params: Any,
) -> Any:
    """The result of one operation with these parameters, checked as the gateway checks them."""
    work = Work(
        engine=engine or FakeEngine(),
        clock=no_clock,
        image=image,
        reference=reference,
        extra_images=tuple(extra_images),
        verify_threshold=verify_threshold,
    )
    return operations.run(operation, parse_params(operation, params), work)


class Recording(FakeEngine):
    """Notes which stage ran on how many faces, and with which search."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []
        self.searches: list[Search] = []

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Note the search."""
        self.searches.append(search)
        found = super().detect(image, search)
        self.stages.append(("detect", len(found)))
        return found

    def align(self, image: Image, faces: Sequence[Detection]) -> Crops:
        """Note how many faces."""
        self.stages.append(("align", len(faces)))
        return super().align(image, faces)

    def embed(self, crops: Crops) -> Vectors:
        """Note how many crops."""
        self.stages.append(("embed", len(crops)))
        return super().embed(crops)

    def liveness(self, image: Image, face: Detection) -> float:
        """Note the call."""
        self.stages.append(("liveness", 1))
        return super().liveness(image, face)


class Gifted(Recording):
    """Knows two attributes: the age is the width of the box in the pixels that were read."""

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""
        return replace(super().info, attributes=("age_gender", "landmarks_68"))

    def attributes(self, _image: Image, faces: Sequence[Detection], names: Sequence[AttributeName]) -> list[Attributes]:
        """Ages, and the corners of the box as points with a depth of 1."""
        self.stages.append((" ".join(names), len(faces)))
        return [
            Attributes(
                age=face.box[2] - face.box[0] if "age_gender" in names else None,
                gender="female" if "age_gender" in names else None,
                landmarks_68=((face.box[0], face.box[1], 1.0),) if "landmarks_68" in names else None,
                pose=HeadPose(1.0, 2.0, 3.0, "landmarks_68") if "landmarks_68" in names else None,
            )
            for face in faces
        ]


TABLE = Calibration(
    contract="vultus-emb-fake-v1",
    source="made up",
    impostor_pairs=1_000_000,
    points=(Point(1e-2, 0.3), Point(1e-3, 0.4), Point(1e-4, 0.6)),
    populations=(
        Population("one group", "12 people", source="made up", people=12, points=(Point(0.1, 0.4), Point(0.01, 0.6))),
    ),
)


class Calibrated(FakeEngine):
    """Has a table of false-match rates, and its match limit on it."""

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""
        return replace(super().info, calibration=TABLE)
