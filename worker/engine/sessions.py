"""Open the models of a pack on a device."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime

from worker.engine.blobs import Blob
from worker.engine.devices import OPENVINO, Device, audit
from worker.engine.session import Outputs, Session, finite, unreadable


def open_session(path: Path, device: Device) -> Session:
    """Open the model in this file on this device.

    Raises:
        SettingsError: one line that says why it cannot be loaded, or that it would run elsewhere.
    """
    if device.provider == OPENVINO:
        from worker.engine.openvino_sessions import OpenVinoSession  # noqa: PLC0415 - an optional dependency

        return OpenVinoSession(path, device)
    return OnnxSession(path, device)


class OnnxSession:
    """A model in onnxruntime."""

    def __init__(self, path: Path, device: Device) -> None:
        try:
            self._session = onnxruntime.InferenceSession(str(path), session_options(device), providers=device.providers)
        except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions have no other common base
            raise unreadable(path, error) from None
        self.name = path.name
        audit(self.name, device, assigned_nodes(self._session))
        model_input = self._session.get_inputs()[0]
        self._input = model_input.name
        self.provider = str(self._session.get_providers()[0])
        self.input_shape = tuple(axis if isinstance(axis, int) else None for axis in model_input.shape)
        self.outputs = len(self._session.get_outputs())

    def run(self, blob: Blob) -> Outputs:
        """Run the model once."""
        return finite(self._session.run(None, {self._input: blob}), name=self.name)


def session_options(device: Device) -> Any:
    """Return the options of all onnxruntime sessions of this process."""
    options = onnxruntime.SessionOptions()
    # Jobs run in parallel, one per core; the thread pools of several sessions would spin against each other (two
    # processes on two cores: 8.4 jobs/s with the defaults, 18.6 with one thread each).
    options.intra_op_num_threads = device.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Canvases and batches have many shapes; a memory plan for each would be kept forever.
    options.enable_mem_pattern = False
    _share_one_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


@cache
def _share_one_arena() -> None:
    """Let all models of this process share one arena in main memory that grows by the requested amounts.

    By default each session has its own arena, grown by powers of two: 240 MiB instead of 180 for the compact pack and
    two threads, at the same speed.
    """
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    same_as_requested = 1
    onnxruntime.create_and_register_allocator(
        memory, onnxruntime.OrtArenaCfg({"arena_extend_strategy": same_as_requested})
    )


def assigned_nodes(session: Any) -> Iterator[tuple[str, str, str]]:
    """Yield provider, operator and name of every node of a loaded model."""
    for part in session.get_provider_graph_assignment_info():
        for node in part.get_nodes():
            yield part.ep_name, node.op_type, node.name
