"""Reads labelled pictures once and keeps what the sections of the table of effects share."""

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
"""Pixels of face width of a working copy: enough for every kind of damage, and quick to damage."""
MARGIN: Final = 1.0
"""Surroundings of a working copy on each side, in widths and heights of the face's box."""

T = TypeVar("T")
U = TypeVar("U")
Row = Sequence[Embedding | None]
"""One embedding for each sample, or None where no face was found."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A labelled picture: its path, and its face with surroundings as a small picture."""

    path: Path
    copy: Image
    face: Detection
    """In the pixels of `copy`."""
    share: float
    """Width of the face as a share of the root of the picture's area: the same however the picture is turned."""


@dataclass(frozen=True, slots=True)
class Laboratory:
    """An engine, samples whose people are known, and threads to read with."""

    engine: Engine
    samples: tuple[Sample, ...]
    people: People
    """Of the samples, in their order."""
    params: OneFaceParams
    max_pixels: int
    threads: int
    refused: dict[Path, str] = field(default_factory=dict)
    """Pictures without a face to work with, and why."""

    def each(self, function: Callable[[T], U], items: Iterable[T]) -> list[U]:
        """Apply a function to many items in several threads; results in their order."""
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(function, items))

    def picture(self, path: Path) -> Picture:
        """The picture as a job reads it.

        Raises:
            ImageError: it cannot be read.
        """
        return _decoded(path, self.params, self.engine, self.max_pixels)

    def embedding(self, picture: Picture) -> Embedding | None:
        """Embedding of the person in a picture, found as a job finds it without turning it; None if nobody is found."""
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
    """Read the pictures of these people. Those without one clear face are left out and listed in `refused`."""

    def sample(path: Path) -> Sample | str:
        try:
            picture = _decoded(path, params, engine, max_pixels)
            subject = person.find(picture, params, Work(engine=engine, clock=_untimed, image=picture))
        except VultusError as error:
            return error.detail
        if subject.face is None:
            return "no face was found" if subject.reason == "no_face" else "several faces may be meant"
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
    """Width of the sample's face in the pixels of its picture."""
    return sample.share * _side(picture.pixels)


def _side(pixels: Image) -> float:
    return math.sqrt(pixels.shape[0] * pixels.shape[1])


def whole(pixels: Image) -> Picture:
    """A picture that consists of these pixels."""
    high, wide = pixels.shape[:2]
    return Picture(pixels, wide, high)


def similarities(row: Row, pairs: Matrix) -> tuple[Similarities, Matrix]:
    """Similarities of the pairs whose faces were both found; whether both can be recognised. One entry for a pair."""
    there = np.array([embedding is not None for embedding in row], bool)
    size = next((len(embedding.vector) for embedding in row if embedding), 0)
    vectors = np.array([embedding.vector if embedding else [0.0] * size for embedding in row], np.float32)
    sure = np.array([embedding is not None and recognisable(embedding) for embedding in row], bool)
    one, two = np.nonzero(np.triu(pairs & there[:, None] & there[None, :], 1))
    return np.einsum("ij,ij->i", vectors[one], vectors[two]), sure[one] & sure[two]


def percent(cases: Matrix) -> str:
    """Share of the cases that are true, such as `12.5 %`; a dash without cases."""
    return f"{100 * float(cases.mean()):.1f} %" if cases.size else "-"


def recognisable(embedding: Embedding) -> bool:
    """Whether the face can be recognised; true if the pack has no measure for it."""
    return embedding.recognisability is None or embedding.recognisability.recognisable


def _working_copy(image: Image, face: Detection) -> tuple[Image, Detection]:
    """The face with its surroundings, at most `WIDEST` pixels wide, and where it is in there."""
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
