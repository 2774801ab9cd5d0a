"""Opens ONNX models on the device that was asked for, and on no other."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.errors import ErrorCode, JobError, SettingsError

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
_CUDA_OPTIONS: Final = {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}


def choose_provider(wanted: Literal["auto", "cpu", "cuda"], *, available: Sequence[str] | None = None) -> str:
    """The execution provider for a setting: `auto` takes CUDA where this build of onnxruntime has it.

    Raises:
        SettingsError: `cuda` on a build without it.
    """
    has_cuda = CUDA in (onnxruntime.get_available_providers() if available is None else available)
    if wanted == "cpu" or (wanted == "auto" and not has_cuda):
        return CPU
    if not has_cuda:
        msg = (
            "VULTUS_PROVIDER=cuda, but this onnxruntime is built for the CPU only: "
            "install requirements/worker-gpu.txt, or set VULTUS_PROVIDER=cpu"
        )
        raise SettingsError(msg)
    onnxruntime.preload_dlls()
    return CUDA


class Session:
    """An ONNX session that refuses numbers that are not finite. Safe for several threads, as onnxruntime's is."""

    def __init__(self, path: Path, *, provider: str) -> None:
        """Open the model in `path`.

        Raises:
            SettingsError: the file is no model, or it would not run on `provider`.
        """
        options = onnxruntime.SessionOptions()
        # Jobs run in parallel, one on each core; the thread pools of several sessions would spin against each other
        # (two processes on two cores: 8.4 jobs/s at the defaults, 18.6 with one thread each).
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        providers: list[Any] = [(CUDA, _CUDA_OPTIONS), CPU] if provider == CUDA else [provider]
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions share no base but this
            last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            msg = f"{path} cannot be loaded: {last[0]}"
            raise SettingsError(msg) from None
        self._name = path.name
        if (actual := self.provider) != provider:
            msg = (
                f"{path.name} runs on {actual} although {provider} was asked for: no usable CUDA device or library; "
                "mend that, or set VULTUS_PROVIDER=cpu"
            )
            raise SettingsError(msg)

    @property
    def provider(self) -> str:
        """The execution provider that really runs the model."""
        return str(self._session.get_providers()[0])

    def run(self, outputs: Sequence[str] | None, feed: Mapping[str, Any]) -> list[NDArray[np.float32]]:
        """Run the model once.

        Raises:
            JobError: `model_failure` where an output holds a number that is not finite.
        """
        results: list[NDArray[np.float32]] = self._session.run(outputs, feed)
        if not all(np.isfinite(result).all() for result in results):
            raise JobError(ErrorCode.MODEL_FAILURE, f"The model {self._name} gave a number that is not finite.")
        return results

    # What insightface's model classes ask a session for, under onnxruntime's names.

    def get_inputs(self) -> list[Any]:
        """Inputs of the model."""
        return list(self._session.get_inputs())

    def get_outputs(self) -> list[Any]:
        """Outputs of the model."""
        return list(self._session.get_outputs())

    def get_providers(self) -> list[str]:
        """Providers of the session, the one that runs first."""
        return list(self._session.get_providers())
