"""Select the model files of a pack for insightface's own `FaceAnalysis`."""

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
"""Roles that `FaceAnalysis` knows. It mistakes models of other roles for one of these, or fails on them."""
LIBRARY_MANIFEST_VERSION: Final = 2
"""The only `manifest_version` that `FaceAnalysis` honors."""


@dataclass(frozen=True, slots=True)
class LibraryPack:
    """A pack as presented to `FaceAnalysis`."""

    name: str
    folder: Path
    manifest: Manifest | None
    """Our manifest, with verified checksums; None if there is none."""
    files: tuple[Path, ...]
    """Model files to load; empty if insightface's own manifest in the folder lists them."""

    def original(self, loaded: str) -> Path:
        """Return the file in the pack that the library loaded under this path, which may be a removed link."""
        return self.folder / Path(loaded).name if self.files else Path(loaded)

    @contextmanager
    def opened(self) -> Iterator[str]:
        """Provide the absolute path of a folder with exactly these files while they are loaded.

        `FaceAnalysis` loads every *.onnx of a folder, and never downloads if an absolute folder exists.
        """
        if not self.files:
            yield str(self.folder)
            return
        with tempfile.TemporaryDirectory() as alone:
            for file in self.files:
                Path(alone, file.name).symlink_to(file)
            yield alone


def library_pack(models_dir: Path, pack: str, *, roles: Collection[Role] = ROLES) -> LibraryPack:
    """Select the files of a pack for `FaceAnalysis`. Never downloads.

    A pack with a manifest is verified, and its files of these roles are selected. A folder without a manifest is used
    unchanged, because nothing is known about its files.

    Raises:
        SettingsError: the pack is missing or corrupt; one line says what to do.
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
    """Return the top level of the manifest in a folder, ours or insightface's; empty if there is none."""
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read: {error}"
        raise SettingsError(msg) from None
    return document if isinstance(document, dict) else {}
