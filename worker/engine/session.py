"""The protocol of a loaded model, independent of the runtime: one input, finite outputs."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import ErrorCode, JobError, SettingsError
from worker.engine.blobs import Blob

Outputs = list[NDArray[np.float32]]


class Session(Protocol):
    """A loaded model with one input. Thread-safe."""

    @property
    def name(self) -> str:
        """File name of the model."""

    @property
    def provider(self) -> str:
        """The provider that actually runs it, such as CPUExecutionProvider."""

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the input; None for an axis of variable length."""

    @property
    def outputs(self) -> int:
        """Number of outputs."""

    def run(self, blob: Blob) -> Outputs:
        """Run the model once.

        Raises:
            JobError: `model_failure` if an output contains a non-finite number.
        """


def finite(outputs: Outputs, *, name: str) -> Outputs:
    """Return the outputs if all their numbers are finite.

    Raises:
        JobError: `model_failure`.
    """
    if not all(np.isfinite(output).all() for output in outputs):
        raise JobError(ErrorCode.MODEL_FAILURE, f"The model {name} returned a number that is not finite.")
    return outputs


def unreadable(path: Path, error: Exception) -> SettingsError:
    """Convert a runtime's error about a model file to one line."""
    last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
    return SettingsError(f"{path} cannot be loaded: {last[0]}")
