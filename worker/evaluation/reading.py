"""Read labelled pictures as a job does: choose one face in each, and read its embedding or liveness."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.errors import VultusError
from shared.faces import Embedding, Liveness
from shared.operations import OneFaceParams
from shared.results import FaceReason
from worker.engine.base import Detection, Engine
from worker.images import Picture, decode
from worker.operations import Work, min_long_side, person

REASONS: Final[dict[FaceReason, str]] = {
    "no_face": "no face was found",
    "multiple_faces": "several faces are equally prominent",
}

T = TypeVar("T")
Vector = NDArray[np.float32]


@dataclass
class Readings(Generic[T]):
    """The readings of pictures, and the reasons why others were refused."""

    of: dict[Path, T] = field(default_factory=dict)
    refused: dict[Path, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads pictures with an engine in several threads."""

    engine: Engine
    params: OneFaceParams
    max_pixels: int
    threads: int

    def embeddings(self, pictures: Sequence[Path]) -> Readings[Embedding]:
        """Read the embeddings, each with its recognisability."""
        return self._read(pictures, _embedding)

    def liveness(self, pictures: Sequence[Path]) -> Readings[Liveness]:
        """Read liveness at the pack's limits; a face that the model cannot judge counts as refused."""
        return self._read(pictures, _liveness)

    def decoded(self, path: Path) -> Picture:
        """Return a picture as a job decodes it.

        Raises:
            ImageError: the picture cannot be decoded.
        """
        side = min_long_side(self.params, self.engine.info)
        return decode(path.read_bytes(), max_pixels=self.max_pixels, min_long_side=side)

    def _read(self, pictures: Sequence[Path], read: Callable[[Work, Picture, Detection], T | str]) -> Readings[T]:
        readings: Readings[T] = Readings()

        def one(path: Path) -> T | str:
            try:
                picture = self.decoded(path)
                work = Work(engine=self.engine, clock=_untimed, image=picture)
                subject = person.find(picture, self.params, work)
                if subject.face is None:
                    return REASONS[subject.reason or "no_face"]
                return read(work, subject.picture, subject.face)
            except VultusError as error:
                return error.detail

        distinct = sorted(set(pictures))
        with ThreadPoolExecutor(self.threads) as pool:
            for path, reading in zip(distinct, pool.map(one, distinct), strict=True):
                if isinstance(reading, str):
                    readings.refused[path] = reading
                else:
                    readings.of[path] = reading
        return readings


def vectors(embeddings: Mapping[Path, Embedding]) -> dict[Path, Vector]:
    """Return the unit vectors, each of shape (dimension,), float32."""
    return {path: np.asarray(embedding.vector, np.float32) for path, embedding in embeddings.items()}


def decided(embeddings: Mapping[Path, Embedding]) -> dict[Path, Embedding]:
    """Return the embeddings of recognizable faces; verification is inconclusive for the others."""
    return {
        path: each for path, each in embeddings.items() if not each.recognisability or each.recognisability.recognisable
    }


def _embedding(work: Work, picture: Picture, face: Detection) -> Embedding:
    [embedding] = work.embed(work.align(picture, [face]), [face])
    return embedding


def _liveness(work: Work, picture: Picture, face: Detection) -> Liveness | str:
    reading = work.liveness(picture, face)
    return reading if reading.score is not None else (reading.reason or "not evaluated")


@contextmanager
def _untimed(_stage: str) -> Iterator[None]:
    yield
