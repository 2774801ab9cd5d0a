"""Degrade pictures of faces in reproducible ways, to measure how a pack behaves on bad pictures.

Each kind is a pure function of the picture and one face in it, and applies to the whole picture. Sizes are relative to
the width of that face's box, so that a kind has the same effect in small and large pictures.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, get_args

import cv2
import numpy as np

from worker.engine.base import Detection, Image

Kind = Literal[
    "turned_90",
    "turned_180",
    "turned_270",
    "light_5",
    "light_2",
    "light_5_noisy",
    "blur_4",
    "blur_7",
    "blur_10",
    "blur_12",
    "motion_blur",
    "face_24_px",
    "face_20_px",
    "face_16_px",
    "jpeg_5",
    "overexposed",
    "lower_half_covered",
    "eyes_covered",
    "negative",
]
Family = Literal["rotation", "light", "blur", "size", "compression", "cover", "negative"]

MASK: Final = (190, 160, 120)
"""BGR of the cover over the lower half: surgical-mask blue."""
GLASSES: Final = (20, 20, 20)
"""BGR of the cover over the eyes."""


class Degradation(NamedTuple):
    """One kind of degradation."""

    family: Family
    apply: Callable[[Image, Detection], Image]
    description: str

    @property
    def moves_face(self) -> bool:
        """Whether the face is elsewhere afterward. All other kinds preserve the size and all positions."""
        return self.family == "rotation"


def turned(image: Image, degrees: int) -> Image:
    """Rotate the picture clockwise by 90, 180 or 270 degrees."""
    codes = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
    return _image(cv2.rotate(image, codes[degrees]))


def lit(image: Image, share: float, *, noise: float = 0.0, seed: int = 0) -> Image:
    """Multiply every value by `share`, round and clip. `noise`: standard deviation of sensor noise, in gray levels."""
    values = image.astype(np.float32) * share
    if noise:
        values += np.random.default_rng(seed).normal(0.0, noise, image.shape).astype(np.float32)
    return _image(np.clip(np.rint(values), 0, 255))


def blurred(image: Image, face: Detection, share: float) -> Image:
    """Apply a Gaussian blur whose standard deviation is this share of the face's width."""
    return _image(cv2.GaussianBlur(image, (0, 0), share * _width(face), borderType=cv2.BORDER_REPLICATE))


def moved(image: Image, face: Detection, share: float) -> Image:
    """Apply horizontal motion blur: the mean over this share of the face's width."""
    length = max(1, round(share * _width(face)))
    return _image(cv2.blur(image, (length, 1), borderType=cv2.BORDER_REPLICATE))


def scaled(image: Image, face: Detection, width: float) -> Image:
    """Resize the picture so that the face is `width` pixels wide."""
    factor = width / _width(face)
    high, wide = image.shape[:2]
    size = max(1, round(wide * factor)), max(1, round(high * factor))
    return _image(cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR))


def shrunk(image: Image, face: Detection, width: float) -> Image:
    """Shrink the picture until the face is `width` pixels wide, then restore its size."""
    high, wide = image.shape[:2]
    return _image(cv2.resize(scaled(image, face, width), (wide, high), interpolation=cv2.INTER_LINEAR))


def compressed(image: Image, quality: int) -> Image:
    """Encode as JPEG and decode again."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return _image(cv2.imdecode(data, cv2.IMREAD_COLOR))


def resampled(image: Image, face: Detection, *, width: float = 100, quality: int = 75) -> Image:
    """Resize and compress as a thrifty client does. This is no degradation and therefore not a kind."""
    return compressed(scaled(image, face, width), quality)


def lower_half_covered(image: Image, face: Detection) -> Image:
    """Cover the face from the tip of the nose down, across the width of its box."""
    x1, _, x2, y2 = face.box
    return _covered(image, (x1, face.landmarks[2][1], x2, y2), MASK)


def eyes_covered(image: Image, face: Detection) -> Image:
    """Cover a band over both eyes, across the width of the box, reaching a sixth of it above and below them."""
    x1, _, x2, _ = face.box
    heights = [y for _, y in face.landmarks[:2]]
    reach = (x2 - x1) / 6
    return _covered(image, (x1, min(heights) - reach, x2, max(heights) + reach), GLASSES)


def negative(image: Image) -> Image:
    """Return the photographic negative."""
    return _image(255 - image)


def _covered(image: Image, area: tuple[float, float, float, float], colour: tuple[int, int, int]) -> Image:
    left, top, right, bottom = (max(0, round(side)) for side in area)
    covered = image.copy()
    covered[top:bottom, left:right] = colour
    return covered


def _width(face: Detection) -> float:
    return max(1.0, face.box[2] - face.box[0])


def _image(values: object) -> Image:
    return np.ascontiguousarray(values, np.uint8)


def _turn(degrees: int) -> Degradation:
    return Degradation("rotation", lambda image, _: turned(image, degrees), f"turned clockwise by {degrees} degrees")


def _blur(percent: int) -> Degradation:
    return Degradation("blur", partial(blurred, share=percent / 100), f"Gaussian blur, {percent} % of the face's width")


def _light(percent: int) -> Degradation:
    return Degradation("light", lambda image, _: lit(image, percent / 100), f"{percent} % of the light")


def _small(width: int) -> Degradation:
    return Degradation("size", partial(shrunk, width=width), f"face of {width} pixels, enlarged again")


DEGRADATIONS: Final[Mapping[Kind, Degradation]] = MappingProxyType(
    {
        "turned_90": _turn(90),
        "turned_180": _turn(180),
        "turned_270": _turn(270),
        "light_5": _light(5),
        "light_2": _light(2),
        "light_5_noisy": Degradation(
            "light", lambda image, _: lit(image, 0.05, noise=2.0), "5 % of the light, sensor noise of 2 grey levels"
        ),
        "blur_4": _blur(4),
        "blur_7": _blur(7),
        "blur_10": _blur(10),
        "blur_12": _blur(12),
        "motion_blur": Degradation("blur", partial(moved, share=0.25), "motion blur, 25 % of the face's width"),
        "face_24_px": _small(24),
        "face_20_px": _small(20),
        "face_16_px": _small(16),
        "jpeg_5": Degradation("compression", lambda image, _: compressed(image, 5), "JPEG of quality 5"),
        "overexposed": Degradation("light", lambda image, _: lit(image, 3.0), "three times the light, clipped"),
        "lower_half_covered": Degradation("cover", lower_half_covered, "covered from the nose down"),
        "eyes_covered": Degradation("cover", eyes_covered, "a dark band over both eyes"),
        "negative": Degradation("negative", lambda image, _: negative(image), "photographic negative"),
    }
)
"""Every kind of degradation, by name."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


def degraded(image: Image, face: Detection, kind: Kind) -> Image:
    """Return a degraded copy in BGR."""
    return DEGRADATIONS[kind].apply(image, face)
