"""Open models in OpenVINO, which is faster than onnxruntime on Intel and AMD processors."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from shared.errors import SettingsError
from worker.engine.blobs import Blob
from worker.engine.devices import OPENVINO, Device
from worker.engine.session import Outputs, finite, unreadable

_PRECISIONS = {"f32": openvino.Type.f32, "bf16": openvino.Type.bf16}


class OpenVinoSession:
    """A model in OpenVINO, with one inference request per thread."""

    provider = OPENVINO

    def __init__(self, path: Path, device: Device) -> None:
        core = openvino.Core()
        try:
            self._model = core.compile_model(
                str(path),
                "CPU",
                {
                    # By default OpenVINO uses bf16 if the processor supports it, which silently changes embeddings.
                    "INFERENCE_PRECISION_HINT": _PRECISIONS[device.precision],
                    # With one stream, the jobs of a worker would wait for each other at every model.
                    "NUM_STREAMS": device.at_once,
                    "INFERENCE_NUM_THREADS": device.at_once * device.threads,
                    "ENABLE_CPU_PINNING": False,
                },
            )
        except RuntimeError as error:
            raise unreadable(path, error) from None
        precision = self._model.get_property("INFERENCE_PRECISION_HINT")
        if precision != _PRECISIONS[device.precision]:
            msg = f"VULTUS_PRECISION={device.precision}, but this processor does not support it: set it to f32"
            raise SettingsError(msg)
        self.name = path.name
        shape = self._model.input(0).partial_shape
        self.input_shape = tuple(axis.get_length() if axis.is_static else None for axis in shape)
        self.outputs = len(self._model.outputs)
        self._requests = threading.local()

    def run(self, blob: Blob) -> Outputs:
        """Run the model once."""
        request: Any = getattr(self._requests, "own", None)
        if request is None:
            request = self._requests.own = self._model.create_infer_request()
        outputs = request.infer([blob], share_inputs=True)
        return finite([np.array(outputs[n]) for n in range(self.outputs)], name=self.name)
