"""The pictures of all measurements, as files that a client would send."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG file and the number of faces in it."""

    name: str
    source: str
    data: bytes
    faces: int

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Decoded pixels, BGR."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.data, np.uint8), cv2.IMREAD_COLOR), np.uint8)

    @property
    def text(self) -> str:
        """Description for the report."""
        height, width = self.pixels.shape[:2]
        return f"{self.source}, {width}x{height}, {len(self.data) / 1024:.0f} KiB, faces: {self.faces}"


def group() -> Picture:
    """Return the picture with six faces that the insightface package ships."""
    path = _inside("insightface", "data", "images", "t1.jpg")
    return Picture("t1", "t1.jpg of the insightface package", path.read_bytes(), 6)


def portrait() -> Picture:
    """Return a picture with one face: scikit-image's astronaut (a dependency of insightface) as a 640-pixel JPEG."""
    image = np.asarray(cv2.imread(str(_inside("skimage", "data", "astronaut.png"))), np.uint8)
    return Picture("one", "astronaut.png of scikit-image", jpeg(image, width=640, height=640), 1)


def empty() -> Picture:
    """Return an empty picture, which shows the cost of the work around an engine."""
    return Picture("empty", "drawn here", jpeg(np.full((64, 64, 3), 30, np.uint8), width=64, height=64), 0)


def scaled(picture: Picture, *, megapixels: float) -> Picture:
    """Return the same scene at this many megapixels, as a baseline JPEG like those of cameras."""
    image = picture.pixels
    height, width = image.shape[:2]
    scale = (megapixels * 1e6 / (height * width)) ** 0.5
    data = jpeg(image, width=round(width * scale), height=round(height * scale))
    return Picture(f"{picture.name}, {megapixels:g} MP", picture.source, data, picture.faces)


def named(name: str) -> Picture:
    """Return the picture with this name: `t1`, `one`, or `one, 12 MP` for a size in megapixels."""
    picture = {"t1": group, "one": portrait}[name.split(",", maxsplit=1)[0]]()
    return scaled(picture, megapixels=float(name.split()[1])) if "," in name else picture


def mixed() -> list[Picture]:
    """Return pictures with none to six faces and in several shapes, as a worker receives them over a day."""
    six, one = group(), portrait()
    height, width = six.pixels.shape[:2]
    half = jpeg(six.pixels[:, : width // 2], width=width // 2, height=height)
    brick = np.asarray(cv2.imread(str(_inside("skimage", "data", "brick.png"))), np.uint8)
    empty = Picture("no face", "brick.png of scikit-image", jpeg(brick, width=512, height=512), 0)
    return [one, six, one, Picture("half", six.source, half, 3), empty, scaled(one, megapixels=2.5)]


def jpeg(image: NDArray[np.uint8], *, width: int, height: int) -> bytes:
    """Encode a baseline JPEG with quality 90 at this size."""
    way = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_CUBIC
    data = cv2.imencode(".jpg", cv2.resize(image, (width, height), interpolation=way), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return data[1].tobytes()


def _inside(package: str, *parts: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        msg = f"The {package} package is not installed. Run: make bench"
        raise FileNotFoundError(msg)
    return Path(next(iter(spec.submodule_search_locations))).joinpath(*parts)
