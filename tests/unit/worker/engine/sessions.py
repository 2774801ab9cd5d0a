"""Sessions without a model: what goes in is kept, what comes out is scripted."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Blob = NDArray[np.float32]


class ScriptedSession:
    """Answers each run with what the script makes of the blob."""

    name = "scripted.onnx"
    provider = "CPUExecutionProvider"

    def __init__(
        self, script: Callable[[Blob], list[Blob]], *, shape: tuple[int | None, ...], outputs: int = 1
    ) -> None:
        self.script = script
        self.input_shape = shape
        self.outputs = outputs
        self.seen: list[Blob] = []

    def run(self, blob: Blob) -> list[Blob]:
        self.seen.append(blob)
        return self.script(blob)
