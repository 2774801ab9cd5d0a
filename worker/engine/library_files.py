"""Chooses the model files that insightface's own `FaceAnalysis` is given of a pack."""

import json
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shared.errors import SettingsError
from worker.packs import manifests
from worker.packs.manifests import MANIFEST, Manifest, Role

ROLES: Final[frozenset[Role]] = frozenset({"detection", "recognition", "age_gender", "landmarks_106", "landmarks_68"})
"""Roles that `FaceAnalysis` knows. It takes a model of another role for one of these, or fails on it."""
LIBRARY_MANIFEST_VERSION: Final = 2
"""`manifest_version` of a manifest by which `FaceAnalysis` loads a pack. It ignores other versions."""


@dataclass(frozen=True, slots=True)
class LibraryPack:
    """A pack as `FaceAnalysis` sees it."""

    name: str
    folder: Path
    manifest: Manifest | None
    """Our manifest, whose checksums have been verified; None where there is none."""
    files: tuple[Path, ...]
    """Model files that it is given; empty where insightface's own manifest in the folder names them."""

    def original(self, loaded: str) -> Path:
        """The file in the pack that the library loaded under this path; the folder of links is gone by then."""
        return self.folder / Path(loaded).name if self.files else Path(loaded)

    @contextmanager
    def opened(self) -> Iterator[str]:
        """The absolute path of a folder with these files and nothing else, for as long as they are being loaded.

        `FaceAnalysis` loads every *.onnx of a folder, and an absolute folder that exists is never downloaded.
        """
        if not self.files:
            yield str(self.folder)
            return
        with tempfile.TemporaryDirectory() as alone:
            for file in self.files:
                Path(alone, file.name).symlink_to(file)
            yield alone


def library_pack(models_dir: Path, pack: str, *, roles: Collection[Role] = ROLES) -> LibraryPack:
    """What `FaceAnalysis` is given of a pack. Never downloads.

    A pack with a manifest is verified, and its files of these roles are given. A folder without one is given as it is:
    nothing is known of its files.

    Raises:
        SettingsError: the pack is not there, or is not intact; one line says what to do.
    """
    manifests.require_folder(models_dir)
    folder = (models_dir / pack).absolute()
    manifests.require_folder(folder)
    described = _manifest(folder)
    models = tuple(sorted(folder.glob("*.onnx")))
    if "format" in described or (not folder.is_dir() and pack in manifests.catalog()):
        manifest = manifests.installed(models_dir, pack)
        files = tuple(folder / file.name for file in manifest.files if file.role in roles)
        return LibraryPack(name=manifest.name, folder=folder, manifest=manifest, files=files)
    if described.get("manifest_version") == LIBRARY_MANIFEST_VERSION:
        models = ()
    elif not models:
        nested = sorted(folder.glob("*/*.onnx"))
        hint = f"move the files of {nested[0].parent} into it" if nested else "put the pack's *.onnx files there"
        msg = f"Model pack '{pack}' has no model files in {folder}: {hint}, or set VULTUS_PACK and VULTUS_MODELS_DIR"
        raise SettingsError(msg)
    return LibraryPack(name=pack, folder=folder, manifest=None, files=models)


def _manifest(folder: Path) -> dict[str, Any]:
    """The top level of the manifest in a folder, whoever wrote it; empty where there is none."""
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read: {error}"
        raise SettingsError(msg) from None
    return document if isinstance(document, dict) else {}
