"""Read labelled pictures once, and keep what the sections of the table of effects share."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from shared.errors import VultusError
from shared.faces import Embedding
from shared.operations import OneFaceParams, Operation, RegisterParams
from shared.results import RegisterResult
from worker import operations
from worker.engine.base import Detection, Engine, Image
from worker.engine.degradations import scaled
from worker.evaluation.people import Matrix, People
from worker.evaluation.rates import Similarities
from worker.images import Picture, decode
from worker.operations import Work, min_long_side, person

WIDEST: Final = 200
"""Face width of a working copy, in pixels: enough for every kind of damage, and fast to process."""
MARGIN: Final = 1.0
"""Margin of a working copy on each side, in widths and heights of the face's box."""

T = TypeVar("T")
U = TypeVar("U")
Row = Sequence[Embedding | None]
"""One embedding per sample; None if no face was found."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A labelled picture: its path, and its face with a margin as a small picture."""

    path: Path
    copy: Image
    face: Detection
    """In pixels of `copy`."""
    share: float
    """Width of the face relative to the square root of the picture's area, which rotation does not change."""


@dataclass(frozen=True, slots=True)
class Laboratory:
    """An engine, samples of known people, and the number of threads."""

    engine: Engine
    samples: tuple[Sample, ...]
    people: People
    """The people of the samples, in the same order."""
    params: OneFaceParams
    max_pixels: int
    threads: int
    refused: dict[Path, str] = field(default_factory=dict)
    """Pictures without a usable face, each with the reason."""

    def each(self, function: Callable[[T], U], items: Iterable[T]) -> list[U]:
        """Apply a function to all items in several threads; return the results in order."""
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(function, items))

    def picture(self, path: Path) -> Picture:
        """Read a picture as a job does.

        Raises:
            ImageError: it cannot be read.
        """
        return _decoded(path, self.params, self.engine, self.max_pixels)

    def embedding(self, picture: Picture) -> Embedding | None:
        """Embed the person in a picture as a job without `auto_orient` would; return None if no face is chosen."""
        work = Work(engine=self.engine, clock=_untimed, image=picture)
        subject = person.find(picture, self.params.model_copy(update={"auto_orient": False}), work)
        if subject.face is None:
            return None
        [embedding] = work.embed(work.align(subject.picture, [subject.face]), [subject.face])
        return embedding

    def register(self, picture: Picture, params: RegisterParams) -> RegisterResult:
        """Run a registration."""
        work = Work(engine=self.engine, clock=_untimed, image=picture)
        result = operations.run(Operation.REGISTER, params, work)
        assert isinstance(result, RegisterResult)  # noqa: S101 - what the operation returns
        return result


def laboratory(engine: Engine, people: People, *, params: OneFaceParams, max_pixels: int, threads: int) -> Laboratory:
    """Read the pictures of these people; those without exactly one prominent face are listed in `refused`."""

    def sample(path: Path) -> Sample | str:
        try:
            picture = _decoded(path, params, engine, max_pixels)
            subject = person.find(picture, params, Work(engine=engine, clock=_untimed, image=picture))
        except VultusError as error:
            return error.detail
        if subject.face is None:
            return "no face was found" if subject.reason == "no_face" else "several faces are equally prominent"
        pixels, (x1, _, x2, _) = subject.picture.pixels, subject.face.box
        return Sample(path, *_working_copy(pixels, subject.face), share=(x2 - x1) / _side(pixels))

    with ThreadPoolExecutor(threads) as pool:
        read = list(pool.map(sample, people.pictures))
    indices = [index for index, each in enumerate(read) if isinstance(each, Sample)]
    return Laboratory(
        engine=engine,
        samples=tuple(each for each in read if isinstance(each, Sample)),
        people=people.at(indices),
        params=params,
        max_pixels=max_pixels,
        threads=threads,
        refused={path: each for path, each in zip(people.pictures, read, strict=True) if isinstance(each, str)},
    )


def face_width(sample: Sample, picture: Picture) -> float:
    """Return the width of the sample's face in pixels of its picture."""
    return sample.share * _side(picture.pixels)


def _side(pixels: Image) -> float:
    return math.sqrt(pixels.shape[0] * pixels.shape[1])


def whole(pixels: Image) -> Picture:
    """Return a picture that consists of these pixels."""
    high, wide = pixels.shape[:2]
    return Picture(pixels, wide, high)


def similarities(row: Row, pairs: Matrix) -> tuple[Similarities, Matrix]:
    """Return, for each pair whose faces were both found, its similarity and whether both can be recognised."""
    detected = np.array([embedding is not None for embedding in row], bool)
    size = next((len(embedding.vector) for embedding in row if embedding), 0)
    vectors = np.array([embedding.vector if embedding else [0.0] * size for embedding in row], np.float32)
    sure = np.array([embedding is not None and recognisable(embedding) for embedding in row], bool)
    one, two = np.nonzero(np.triu(pairs & detected[:, None] & detected[None, :], 1))
    return np.einsum("ij,ij->i", vectors[one], vectors[two]), sure[one] & sure[two]


def percent(cases: Matrix) -> str:
    """Format the share of true cases, such as `12.5 %`; a dash if there are none."""
    return f"{100 * float(cases.mean()):.1f} %" if cases.size else "-"


def recognisable(embedding: Embedding) -> bool:
    """Return whether the face can be recognised; true if the pack has no measure."""
    return embedding.recognisability is None or embedding.recognisability.recognisable


def _working_copy(image: Image, face: Detection) -> tuple[Image, Detection]:
    """Cut out the face with its margin, at most `WIDEST` pixels wide; return it and its position."""
    x1, y1, x2, y2 = face.box
    high, wide = image.shape[:2]
    aside, off = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
    left, top = max(0, int(x1 - aside)), max(0, int(y1 - off))
    right, bottom = min(wide, int(x2 + aside) + 1), min(high, int(y2 + off) + 1)
    cut = np.ascontiguousarray(image[top:bottom, left:right])
    moved = _moved(face, left, top, 1.0, 1.0)
    if x2 - x1 <= WIDEST:
        return cut, moved
    small = scaled(cut, moved, WIDEST)
    return small, _moved(moved, 0, 0, small.shape[1] / cut.shape[1], small.shape[0] / cut.shape[0])


def _moved(face: Detection, left: int, top: int, across: float, down: float) -> Detection:
    x1, y1, x2, y2 = face.box
    return Detection(
        box=((x1 - left) * across, (y1 - top) * down, (x2 - left) * across, (y2 - top) * down),
        landmarks=tuple(((x - left) * across, (y - top) * down) for x, y in face.landmarks),
        score=face.score,
    )


def _decoded(path: Path, params: OneFaceParams, engine: Engine, max_pixels: int) -> Picture:
    return decode(path.read_bytes(), max_pixels=max_pixels, min_long_side=min_long_side(params, engine.info))


@contextmanager
def _untimed(_stage: str) -> Iterator[None]:
    yield
