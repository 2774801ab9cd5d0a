"""Compare a rewritten graph with the original: the same outputs for the same pictures, within rounding."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto

from worker.packs.manifests import Preprocessing

LEAST_COSINE: Final = 0.99999
"""Minimum for each output of a picture. Rounding alone leaves 1 - 1e-9."""
LARGEST_DIFFERENCE: Final = 1e-4
"""Maximum for a value, relative to the largest value of the same output."""
BATCH: Final = 3
"""Pictures per batch; the five test pictures make a batch of three and one of two."""
FREE_SIDES: Final = ((640, 640), (320, 448))
"""Heights and widths of the test pictures for a model that accepts any size."""
RANGE: Final[dict[Preprocessing, tuple[float, float]]] = {
    "scrfd-5": (-1, 1),
    "arcface-112-rgb": (-1, 1),
    "context-2.7-bgr-128": (0, 255),
    "minifas-2.7-bgr-80": (0, 255),
    "minifas-4.0-bgr-80": (0, 255),
    "aligned-80-rgb": (0, 1),
    "box-1.5-rgb-96": (0, 255),
    "box-1.5-rgb-192": (0, 255),
    "stretched-1.0-grey-64": (0, 1),
    "stretched-1.5-rgb-224": (-2.2, 2.7),
    "eye-1.6-grey-24": (0, 1),
}
"""Smallest and largest input value of each preprocessing."""

Batch = NDArray[np.float32]
Answers = list[NDArray[np.float32]]


class RejectedError(Exception):
    """The rewritten graph differs from the original; the message says where."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well two graphs agree over all test pictures."""

    cosine: float = 1.0
    difference: float = 0.0
    """Largest difference of a value, relative to the largest value of the same output."""

    def and_(self, other: "Agreement") -> "Agreement":
        """Return the worse of both values."""
        return Agreement(min(self.cosine, other.cosine), max(self.difference, other.difference))


class Original:
    """A model with its outputs for the test pictures, computed once and one picture at a time."""

    def __init__(self, model: ModelProto, preprocessing: Preprocessing) -> None:
        """Run the model.

        Raises:
            RejectedError: the model cannot be run.
        """
        session = _session(model)
        _, planes, *fixed = session.get_inputs()[0].shape
        self.size = tuple(side if isinstance(side, int) else None for side in fixed)
        sizes = FREE_SIDES if None in self.size else (self.size,)
        limits, grey = RANGE[preprocessing], planes == 1
        drawn = [pictures(height or 0, width or 0, limits) for height, width in sizes]
        self.pictures = [batch[:, :1] if grey else batch for batch in drawn]
        self.answers = [[_run(session, row[None]) for row in rows] for rows in self.pictures]

    def agreement(self, model: ModelProto) -> Agreement:
        """Return how well a rewritten model agrees, with single pictures and, if it accepts them, with batches.

        Raises:
            RejectedError: the outputs differ.
        """
        session = _session(model)
        batch, _, *sides = session.get_inputs()[0].shape
        counts = (1,) if isinstance(batch, int) else (1, BATCH)
        worst = Agreement()
        for rows, answers in zip(self.pictures, self.answers, strict=True):
            for count in counts:
                for start in range(0, len(rows), count):
                    together = rows[start : start + count]
                    got = _run(session, together)
                    worst = worst.and_(compare(got, answers[start : start + len(together)]))
        if None not in self.size and not any(isinstance(side, int) for side in sides):
            self._other_sizes(session)
        return worst

    def _other_sizes(self, session: onnxruntime.InferenceSession) -> None:
        """Check that outputs scale with the area at sizes that the original does not accept."""
        height, width = self.size
        for high, wide in FREE_SIDES:
            got = _run(session, np.zeros((1, 3, high, wide), np.float32))
            for mine, known in zip(got, self.answers[0][0], strict=True):
                if mine.size * (height or 0) * (width or 0) != known.size * high * wide:
                    msg = f"returns {mine.size} values for {wide}x{high} but {known.size} for {width}x{height}"
                    raise RejectedError(msg)


def compare(got: Answers, answers: Sequence[Answers]) -> Agreement:
    """Compare the output for a batch, picture by picture, with the outputs for single pictures.

    Raises:
        RejectedError: they differ.
    """
    worst = Agreement()
    for index, together in enumerate(got):
        alone = [np.asarray(answer[index], np.float64).reshape(-1) for answer in answers]
        if together.size != sum(row.size for row in alone):
            msg = f"output {index} has {together.size} values instead of {sum(row.size for row in alone)}"
            raise RejectedError(msg)
        for mine, row in zip(together.reshape(len(alone), -1).astype(np.float64), alone, strict=True):
            difference = float(np.abs(mine - row).max() / max(float(np.abs(row).max()), 1e-6))
            length = float(np.linalg.norm(mine) * np.linalg.norm(row))
            cosine = float(mine @ row) / length if length else float(difference == 0)
            # written this way because comparisons with NaN are false
            if not (cosine >= LEAST_COSINE and difference <= LARGEST_DIFFERENCE):
                msg = f"output {index} differs: cosine {cosine:.7f}, largest difference {difference:.1e}"
                raise RejectedError(msg)
            worst = worst.and_(Agreement(min(1.0, cosine), difference))
    return worst


def _session(model: ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions share no other base class
        raise RejectedError(_last_line(error)) from None
    if len(session.get_inputs()) != 1 or len(session.get_inputs()[0].shape) != 4:  # noqa: PLR2004 - a batch of pictures
        msg = "the model does not have a batch of pictures as its only input"
        raise RejectedError(msg)
    return session


def _run(session: onnxruntime.InferenceSession, batch: Batch) -> Answers:
    try:
        answers: Answers = session.run(None, {session.get_inputs()[0].name: batch})
    except Exception as error:  # noqa: BLE001 - as above
        raise RejectedError(_last_line(error)) from None
    return answers


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def pictures(height: int, width: int, limits: tuple[float, float]) -> Batch:
    """Return noise, soft blobs, hard squares, a ramp, and black between two limits, shape (5, 3, height, width)."""
    return np.stack(list(_patterns(height, width))) * np.float32(limits[1] - limits[0]) + np.float32(limits[0])


def _patterns(height: int, width: int) -> Iterator[NDArray[np.float32]]:
    random = np.random.default_rng(7)
    yield random.random((3, height, width), np.float32)
    down, across = np.linspace(0, 5, height, dtype=np.float32), np.linspace(0, 7, width, dtype=np.float32)
    waves = np.stack([np.sin(down[:, None] * (c + 1) + c) * np.cos(across[None] * (3 - c)) for c in range(3)])
    yield np.asarray((waves + 1) / 2, np.float32)
    squares = random.random((3, -(-height // 16), -(-width // 16)), np.float32)
    yield squares.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    ramp = np.linspace(0, 1, width, dtype=np.float32)[None, None]
    yield np.broadcast_to(ramp, (3, height, width))
    yield np.zeros((3, height, width), np.float32)
