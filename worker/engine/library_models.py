"""Load the models of a pack with insightface's own `FaceAnalysis`, on the requested device."""

import contextlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from insightface.app import FaceAnalysis
from insightface.model_zoo import model_zoo

from shared.errors import SettingsError
from worker.engine import align
from worker.engine.base import AttributeName
from worker.engine.devices import Device, audit
from worker.engine.library_files import LibraryPack
from worker.engine.session import finite
from worker.engine.sessions import assigned_nodes, session_options
from worker.packs import manifests

TASKS: Final[dict[AttributeName, str]] = {
    "age_gender": "genderage",
    "landmarks_106": "landmark_2d_106",
    "landmarks_68": "landmark_3d_68",
    "pose": "landmark_3d_68",
}
"""The library's task behind each attribute."""


@dataclass(frozen=True, slots=True)
class _FiniteSession:
    """An onnxruntime session inside a library model that checks its outputs."""

    session: Any
    name: str

    def run(self, *arguments: Any) -> Any:
        return finite(self.session.run(*arguments), name=self.name)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self.session, attribute)


def load_models(source: LibraryPack, device: Device) -> dict[str, Any]:
    """Return the library's models on this device, by the library's task names.

    Raises:
        SettingsError: they cannot be loaded, lack a detector or recogniser, or would run on another device.
    """
    # The library's alignment calls a deprecated scikit-image function for every face.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"insightface\.")
    try:
        with source.opened() as folder, contextlib.redirect_stdout(io.StringIO()):
            analysis = FaceAnalysis(
                folder,
                allowed_modules=["detection", "recognition", *TASKS.values()],
                providers=device.providers,
                sess_options=session_options(device),
                static_shape_sessions=False,  # otherwise every canvas size would open its own session
            )
            analysis.prepare(0)  # a negative number would move every model to the CPU
    except Exception as error:  # noqa: BLE001 - the library raises the errors of its dependencies, and AssertionError
        raise load_error(source, error) from None
    models: dict[str, Any] = analysis.models
    if "recognition" not in models:
        msg = f"insightface found no recognition model in {source.folder}"
        raise SettingsError(msg)
    if not models["detection"].use_kps:
        msg = f"The detector in {source.folder} does not return five points, which alignment needs"
        raise SettingsError(msg)
    for model in models.values():
        name = Path(model.model_file).name
        audit(name, device, assigned_nodes(model.session))
        model.session = _FiniteSession(model.session, name)
    return models


def load_error(source: LibraryPack, error: Exception) -> SettingsError:
    """Return one line on why the library cannot load a pack, naming the file that fails if there is a single one."""
    for file in source.files:
        try:
            model_zoo.get_model(str(file), providers=["CPUExecutionProvider"])
        except Exception as alone:  # noqa: BLE001 - as above
            return SettingsError(
                f"insightface cannot load {file}: {reason_of(alone)}; remove it from the folder, or describe the "
                "pack in a manifest (docs/models.md)"
            )
    reason = str(error) and reason_of(error)
    return SettingsError(f"insightface cannot load {source.folder}: {reason or 'it found no detection model there'}")


def reason_of(error: Exception) -> str:
    """Return the library's message on one line, or a default, because its assertions have no message."""
    return (str(error).strip().splitlines() or ["unknown kind of model"])[0]


def embedding_contract(recogniser: Any, source: LibraryPack) -> str:
    """Return the embedding contract: ours if the library preprocesses faces as our stages do."""
    mean, std, side = float(recogniser.input_mean), float(recogniser.input_std), int(recogniser.input_size[0])
    same = (mean, std, side) == (127.5, 127.5, align.SIZE)
    preprocessing = manifests.PREPROCESSINGS["recognition"][0] if same else f"insightface-{side}-{mean:g}-{std:g}"
    checksum = manifests.sha256_of(source.original(recogniser.model_file))
    return manifests.contract_of(checksum, preprocessing, precision="f32")
