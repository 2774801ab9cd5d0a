"""Draws and encodes pictures for tests: four file formats, every orientation, and faces for the fake engine."""

import io
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Kind = Literal["JPEG", "PNG", "WEBP", "BMP"]
Colour = tuple[int, int, int]
Pixels = NDArray[np.uint8]

ORIENTATION = 0x0112

# Identities of the fake engine, BGR: more than 60 apart from each other, so no two of them match.
WHITE: Colour = (255, 255, 255)
PINK: Colour = (255, 190, 255)
YELLOW: Colour = (0, 255, 255)
"""A color without blue: the fake engine takes it for a spoof."""
GREEN: Colour = (110, 255, 215)
"""The fake engine embeds it as an unrecognizable face."""
DARK: Colour = (30, 30, 30)


def scene(*faces: tuple[tuple[int, int, int, int], Colour], size: tuple[int, int] = (320, 240)) -> Pixels:
    """A dark picture (width, height) with a bright rectangle for each face: its box and its BGR color.

    Dark dots stand for features: they keep sharpness and brightness within the gates of a registration.
    """
    image = np.full((size[1], size[0], 3), DARK, np.uint8)
    for (x1, y1, x2, y2), colour in faces:
        image[y1:y2, x1:x2] = colour
        for row in range(y1 + 6, y2 - 6, 8):
            for column in range(x1 + 6, x2 - 6, 8):
                image[row : row + 4, column : column + 4] = DARK
    return image


def turned_face(*, yaw: float = 0.0, pitch: float = 0.0, colour: Colour = WHITE, shut: bool = False) -> Pixels:
    """A picture with one face of 160x160 pixels that the fake engine sees turned by these degrees, eyes open or shut.

    It is a card seen from the side: the edge that is farther away is shorter.
    """
    image = scene(((80, 40, 240, 200), colour))
    sides = np.array([yaw < 0, yaw > 0, pitch > 0, pitch < 0]) * np.abs([yaw, yaw, pitch, pitch]) / 90 * 80
    left, right, top, bottom = (round(side) for side in sides.tolist())
    corners = np.array([
        (80 + top, 40 + left), (240 - top, 40 + right), (240 - bottom, 200 - right), (80 + bottom, 200 - left),
    ])  # fmt: skip
    card = cv2.fillConvexPoly(np.zeros(image.shape[:2], np.uint8), corners, 1)
    image[card == 0] = DARK
    if shut:
        image[80:112, 104:216] = DARK
    return image


def one_face(colour: Colour = WHITE) -> Pixels:
    """A picture with one face of 100x120 pixels."""
    return scene(((100, 60, 200, 180), colour))


def quarters(width: int = 64, height: int = 48) -> Pixels:
    """Four quarters of different colors, in BGR: red, green, blue, white; no two orientations look the same."""
    image = np.zeros((height, width, 3), np.uint8)
    down, across = height // 2, width // 2
    image[:down, :across], image[:down, across:] = (0, 0, 255), (0, 255, 0)
    image[down:, :across], image[down:, across:] = (255, 0, 0), (255, 255, 255)
    return image


def encoded(pixels: NDArray[Any], kind: Kind = "PNG", *, orientation: int | None = None, **options: Any) -> bytes:
    """Encode the pixels (BGR, BGRA or gray; 8 bits) with Pillow, with an EXIF orientation if given."""
    mode = {2: "L", 3: "RGB", 4: "RGBA"}[pixels.shape[2] if pixels.ndim > 2 else 2]
    code = {"RGB": cv2.COLOR_BGR2RGB, "RGBA": cv2.COLOR_BGRA2RGBA}.get(mode)
    picture = Image.fromarray(np.asarray(pixels if code is None else cv2.cvtColor(pixels, code), np.uint8))
    if orientation is not None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options["exif"] = exif.tobytes()
    if kind == "WEBP":
        options.setdefault("lossless", True)
    return _saved(picture, kind, **options)


def cmyk_jpeg(pixels: Pixels) -> bytes:
    """A JPEG in CMYK."""
    return _saved(Image.fromarray(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))).convert("CMYK"), "JPEG")


def palette_png(pixels: Pixels, *, transparent: int | None = None) -> bytes:
    """A PNG with a palette; one index may be transparent."""
    picture = Image.fromarray(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))).quantize(8)
    return _saved(picture, "PNG", **({} if transparent is None else {"transparency": transparent}))


def deep_png(pixels: NDArray[np.uint16]) -> bytes:
    """A PNG with 16 bits per channel."""
    return cv2.imencode(".png", pixels)[1].tobytes()


def as_viewed(data: bytes) -> Pixels:
    """Decode with Pillow: upright, BGR."""
    picture = Image.open(io.BytesIO(data))
    ImageOps.exif_transpose(picture, in_place=True)
    return np.asarray(cv2.cvtColor(np.asarray(picture.convert("RGB")), cv2.COLOR_RGB2BGR), np.uint8)


def _saved(picture: Image.Image, kind: Kind, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()
