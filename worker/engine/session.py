"""What a loaded model is, whichever runtime executes it: one input, one run, only finite numbers."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import ErrorCode, JobError, SettingsError
from worker.engine.blobs import Blob

Outputs = list[NDArray[np.float32]]


class Session(Protocol):
    """A loaded model with one input. Safe for several threads."""

    @property
    def name(self) -> str:
        """File name of the model."""

    @property
    def provider(self) -> str:
        """What really runs it, such as CPUExecutionProvider."""

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the input; None for an axis of any length."""

    @property
    def outputs(self) -> int:
        """Number of outputs."""

    def run(self, blob: Blob) -> Outputs:
        """Run the model once.

        Raises:
            JobError: `model_failure` where an output holds a number that is not finite.
        """


def finite(outputs: Outputs, *, name: str) -> Outputs:
    """These outputs, if all their numbers are finite.

    Raises:
        JobError: `model_failure`.
    """
    if not all(np.isfinite(output).all() for output in outputs):
        raise JobError(ErrorCode.MODEL_FAILURE, f"The model {name} gave a number that is not finite.")
    return outputs


def unreadable(path: Path, error: Exception) -> SettingsError:
    """A runtime's complaint about a model file, as one line."""
    last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
    return SettingsError(f"{path} cannot be loaded: {last[0]}")
