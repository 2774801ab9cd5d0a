"""Prepares a pack: faster and more flexible equals of its graphs, each kept only where it proves equal."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

import structlog
from pydantic import ValidationError

from shared.errors import SettingsError
from shared.faces import Strict
from worker.engine.packs import Manifest, PackFile, PlainName, Role, Sha256, sha256_of

FOLDER: Final = "prepared"
RECORD: Final = "record.json"
VERSION: Final = 1
"""Raise it when a rewrite changes: every pack is then prepared anew, and until it is, runs as it came."""

STEPS: Final[dict[Role, tuple[str, ...]]] = {
    "detection": ("any size", "any batch", "convolved PRelu"),
    "recognition": ("any batch", "convolved PRelu"),
    "liveness": ("any batch", "convolved PRelu"),
    "age_gender": ("any batch", "convolved PRelu"),
    "landmarks_106": ("any batch", "convolved PRelu"),
    "landmarks_68": ("any batch", "convolved PRelu"),
}
"""What is tried for a model of each role, in this order."""

log = structlog.get_logger(__name__)


class Prepared(Strict):
    """What was made of one model file."""

    source: Sha256
    prepared: Sha256 | None
    """Hash of the prepared file; None where no step changed anything, or none held."""
    steps: tuple[str, ...]
    rejected: dict[str, str]
    """Steps that did not prove equal, with what was wrong."""
    cosine: float
    difference: float


class Record(Strict):
    """What was made of a pack."""

    format: Literal[1]
    version: int
    files: dict[PlainName, Prepared]


def prepared(folder: Path, file: PackFile) -> Path:
    """The graph to load for a file of the pack in `folder`: the prepared one where it is intact, else the original."""
    entry = _entry(folder, file)
    if isinstance(entry, str):
        log.warning("pack.not_prepared", file=file.name, why=entry)
        return folder / file.name
    if entry.prepared is None:
        return folder / file.name
    path = folder / FOLDER / file.name
    if not path.is_file() or sha256_of(path) != entry.prepared:
        log.warning("pack.not_prepared", file=file.name, why="damaged")
        return folder / file.name
    return path


def missing(folder: Path, manifest: Manifest) -> list[str]:
    """Names of the models that have no valid prepared graph."""
    return [file.name for file in _models(folder, manifest) if not _valid(folder, file)]


def prepare(folder: Path, manifest: Manifest, *, say: Callable[[str], None]) -> Record:
    """Write prepared graphs beside the models of an intact pack, and the record that makes them valid, last.

    The same models give the same bytes. A stop half-way leaves a pack that runs as it came.

    Raises:
        SettingsError: the folder cannot be written.
    """
    target = folder / FOLDER
    try:
        target.mkdir(exist_ok=True)
        files = {}
        for file in _models(folder, manifest):
            files[file.name] = _prepare(folder / file.name, file, target / file.name)
            say(f"{manifest.name}: {_told(file, files[file.name])}")
        record = Record(format=1, version=VERSION, files=files)
        _replace(target / RECORD, (record.model_dump_json(indent=2) + "\n").encode())
        wanted = {RECORD, *(name for name, entry in files.items() if entry.prepared)}
        for left in target.iterdir():
            if left.name not in wanted:
                left.unlink()
    except OSError as error:
        msg = f"{manifest.name} was not prepared, and runs as it came: {target}: {error.strerror}"
        raise SettingsError(msg) from None
    return record


def _models(folder: Path, manifest: Manifest) -> Iterator[PackFile]:
    return (file for file in manifest.present(folder).files if file.role is not None)


def _entry(folder: Path, file: PackFile) -> Prepared | str:
    """The record's word on a file, or why there is none."""
    try:
        record = Record.model_validate_json((folder / FOLDER / RECORD).read_bytes())
    except FileNotFoundError:
        return "never prepared"
    except (OSError, ValidationError):
        return "the record is damaged"
    entry = record.files.get(file.name)
    if record.version != VERSION or entry is None or entry.source != file.sha256:
        return "stale"
    return entry


def _valid(folder: Path, file: PackFile) -> bool:
    entry = _entry(folder, file)
    if isinstance(entry, str):
        return False
    path = folder / FOLDER / file.name
    return entry.prepared is None or (path.is_file() and sha256_of(path) == entry.prepared)


def _prepare(source: Path, file: PackFile, target: Path) -> Prepared:
    """Try each step on what the steps before gave; a step that is not equal to the original is left out."""
    # A worker has no use for these two: preparation alone reads and compares graphs (35 MB).
    import onnx  # noqa: PLC0415

    from worker.engine import graphs, proof  # noqa: PLC0415

    rewrites: dict[str, graphs.Rewrite] = {
        "any size": graphs.with_free_sides,
        "any batch": graphs.with_free_batch,
        "convolved PRelu": graphs.with_convolved_prelu,
    }
    steps: list[str] = []
    rejected = {}
    agreement = proof.Agreement()
    if file.role is None or file.preprocessing is None:
        msg = f"{file.name} has no role"
        raise ValueError(msg)
    try:
        model = onnx.load(source)
        original = proof.Original(model, file.preprocessing)
    except Exception as error:  # noqa: BLE001 - the parser's exceptions share no base but this
        rejected = {"any step": str(error) or type(error).__name__}
        return Prepared(source=file.sha256, prepared=None, steps=(), rejected=rejected, cosine=1.0, difference=0.0)
    for step in STEPS[file.role]:
        try:
            candidate = rewrites[step](model)
            if candidate is model:
                continue
            agreement = original.agreement(candidate)
        except Exception as error:  # noqa: BLE001 - whatever makes a rewrite stumble, the original runs
            rejected[step] = str(error) or type(error).__name__
        else:
            model = candidate
            steps.append(step)
    if steps:
        _replace(target, model.SerializeToString(deterministic=True))
    return Prepared(
        source=file.sha256,
        prepared=sha256_of(target) if steps else None,
        steps=tuple(steps),
        rejected=rejected,
        cosine=agreement.cosine,
        difference=agreement.difference,
    )


def _told(file: PackFile, entry: Prepared) -> str:
    parts = []
    if entry.steps:
        parts.append(f"{', '.join(entry.steps)} (cosine {entry.cosine:.9f}, difference {entry.difference:.0e})")
    parts += [f"not {step}: {why}" for step, why in entry.rejected.items()]
    return f"{file.name}: {'; '.join(parts) or 'nothing to prepare'}"


def _replace(path: Path, data: bytes) -> None:
    """Put a file in place whole: a stop half-way leaves the one before, and a part that the next run removes."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
