"""Load portraits from installed packages and pack archives, to measure the recognizability of a pack.

The pictures are in the public domain. They are read from local files and never downloaded for this purpose.
"""

import hashlib
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from pydantic import Field, TypeAdapter

from shared.faces import Strict
from worker.engine.base import Detection, Image

LIST: Final = Path(__file__).with_name("portraits.json")


class KnownFace(Strict):
    """Position of a face in its picture, so that no detector is needed and every pack measures the same faces."""

    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...] = Field(min_length=5, max_length=5)


class Picture(Strict):
    """A picture in an installed package or in a cached archive."""

    package: str | None = None
    archive: str | None = None
    member: str
    sha256: str
    faces: tuple[KnownFace, ...]


@dataclass(frozen=True, slots=True)
class Portrait:
    """One face of a picture."""

    image: Image
    face: Detection


def at_hand(cache: Path | None = None) -> tuple[list[str], list[Portrait]]:
    """Return the checksums and the faces of all listed pictures on this machine, in the order of the list.

    Args:
        cache: folder of downloaded archives; if None, only installed packages are searched.
    """
    sources, portraits = [], []
    for picture in TypeAdapter(tuple[Picture, ...]).validate_json(LIST.read_bytes()):
        data = _bytes(picture, cache)
        if data is None or hashlib.sha256(data).hexdigest() != picture.sha256:
            continue
        image = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
        sources.append(picture.sha256)
        portraits += _cut_out(image, picture.faces)
    return sources, portraits


def _cut_out(image: Image, faces: Sequence[KnownFace]) -> list[Portrait]:
    """Crop each face with its surroundings, because degradations apply to whole pictures, which may be large."""
    high, wide = image.shape[:2]
    portraits = []
    for face in faces:
        x1, y1, x2, y2 = face.box
        reach = 1.25 * max(x2 - x1, y2 - y1)
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        left, top = max(0, int(x - reach)), max(0, int(y - reach))
        part = np.ascontiguousarray(image[top : min(high, int(y + reach)), left : min(wide, int(x + reach))])
        moved = Detection(
            box=(x1 - left, y1 - top, x2 - left, y2 - top),
            landmarks=tuple((a - left, b - top) for a, b in face.landmarks),
            score=1.0,
        )
        portraits.append(Portrait(part, moved))
    return portraits


def _bytes(picture: Picture, cache: Path | None) -> bytes | None:
    try:
        if picture.package is not None:
            spec = find_spec(picture.package)
            folders = (spec.submodule_search_locations if spec else None) or []
            return Path(next(iter(folders)), picture.member).read_bytes() if folders else None
        if cache is None or picture.archive is None:
            return None
        with tarfile.open(cache / picture.archive) as archive:
            member = archive.extractfile(picture.member)
            return member.read() if member else None
    except (OSError, KeyError, tarfile.TarError):
        return None
