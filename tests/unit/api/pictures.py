"""Real image files, made on the spot."""

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 32


def pixels(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """A colourful still picture, the same each time."""
    noise = np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def saved(kind: str, *, mode: str = "RGB", **options: Any) -> bytes:
    """The picture as a file of this kind, written by Pillow."""
    out = io.BytesIO()
    pixels().convert(mode).save(out, format=kind, **options)
    return out.getvalue()


def encoded(suffix: str, *options: int) -> bytes:
    """The picture as a file of this kind, written by OpenCV."""
    done, data = cv2.imencode(suffix, np.asarray(pixels()), list(options))
    assert done
    return data.tobytes()


def animated(kind: str) -> bytes:
    """Two frames."""
    out = io.BytesIO()
    first = pixels()
    first.save(out, format=kind, save_all=True, append_images=[first.rotate(180)], duration=100)
    return out.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_claiming(width: int, height: int) -> bytes:
    """A tiny PNG whose header claims these sides."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels_ = chunk(b"IDAT", zlib.compress(b"\0" * 64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels_ + chunk(b"IEND", b"")


JPEG = saved("JPEG")
PNG = saved("PNG")
WEBP = saved("WEBP")
BMP = saved("BMP")
GIF = animated("GIF")
