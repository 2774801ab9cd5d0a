"""Archives and manifests of a made-up pack, for the installer's tests."""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker.packs.manifests import Archive, Licence, Manifest, NpmArchive, PackFile, SdistArchive, ZipArchive
from worker.packs.thresholds import Thresholds

Serve = Callable[..., str]
"""Serves a body at an address of this machine, and gives the address."""
CONTENT = {"det.onnx": b"detector" * 100, "rec.onnx": b"recogniser" * 100}
LICENCE = Licence(text="For looking at only.", url="https://example.org/licence", must_accept=False)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tarball(content: dict[str, bytes] | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in (content or CONTENT).items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def zipped(content: dict[str, bytes] | None = None) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in (content or CONTENT).items():
            archive.writestr(f"package/{name}", data)
        archive.writestr("../outside.onnx", b"never extracted")
    return stream.getvalue()


def npm(data: bytes) -> NpmArchive:
    return NpmArchive(kind="npm", archive="toy-1.0.tgz", sha256=sha256(data), package="toy", version="1.0")


def sdist(data: bytes) -> SdistArchive:
    return SdistArchive(kind="pip-sdist", archive="toy-1.0.tar.gz", sha256=sha256(data), package="toy", version="1.0")


def zip_at(url: str, data: bytes, **changes: Any) -> ZipArchive:
    fields = {"kind": "zip-url", "archive": "toy.zip", "sha256": sha256(data), "size": len(data), "url": url}
    return ZipArchive.model_validate({**fields, **changes})


def manifest_of(archive: Archive, *, licence: Licence = LICENCE) -> Manifest:
    """A pack of two files out of this archive."""
    det, rec = (
        PackFile(
            name=name,
            sha256=sha256(data),
            size=len(data),
            archive=archive.archive,
            member=f"package/{name}",
            role="detection" if name == "det.onnx" else "recognition",
            preprocessing="scrfd-5" if name == "det.onnx" else "arcface-112-rgb",
        )
        for name, data in CONTENT.items()
    )
    return Manifest(
        format=1,
        name="toy",
        licence=licence,
        embedding_size=512,
        thresholds=Thresholds(detection=0.5, match=0.4, live=0.5, spoof=0.3, register_score=0.6),
        archives=(archive,),
        files=(det, rec),
    )


def written(folder: Path, manifest: Manifest) -> Path:
    """The manifest as a file of a catalog."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{manifest.name}.json"
    path.write_text(manifest.model_dump_json())
    return path
