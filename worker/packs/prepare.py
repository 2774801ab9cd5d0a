"""Prepares a pack: faster and more flexible equals of its graphs, each kept only where it proves equal."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import structlog
from pydantic import ValidationError

from shared.errors import SettingsError
from shared.faces import Strict
from worker.engine.centroids import MAX_ROLL, Measurement, known, measured
from worker.packs.manifests import Manifest, PackFile, PlainName, RecognisabilityLimits, Sha256, sha256_of
from worker.packs.recognisability import Measure

if TYPE_CHECKING:
    from worker.packs.rewriting import Rewritten

FOLDER: Final = "prepared"
RECORD: Final = "record.json"
VERSION: Final = 2
"""Raise it when a rewrite changes: every pack is then prepared anew, and until it is, runs as it came."""
CPU: Final = "CPUExecutionProvider"

log = structlog.get_logger(__name__)


class Graph(Strict):
    """One graph that was made of a model file."""

    name: PlainName
    sha256: Sha256
    steps: tuple[str, ...]
    cosine: float
    """Least cosine between its answers and the original's."""
    difference: float
    """Largest difference of a number, as a share of the largest in its answer."""


class Prepared(Strict):
    """What was made of one model file."""

    source: Sha256
    free: Graph | None
    """For any provider; None where nothing was gained: the original then."""
    cpu: Graph | None
    """For onnxruntime's CPU provider; None where it gains nothing over `free`."""
    rejected: dict[str, str]
    """Steps that did not prove equal, with what was wrong."""

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The graphs that there are."""
        return tuple(graph for graph in (self.free, self.cpu) if graph is not None)


class Record(Strict):
    """What was made of a pack."""

    format: Literal[1]
    version: int
    files: dict[PlainName, Prepared]
    recognisability: Measurement | None = None
    """Of a recognition model that no measurement comes with this version for."""


def prepared(folder: Path, file: PackFile, *, provider: str = CPU) -> Path:
    """The graph to load for a file of the pack in `folder`: the prepared one where it is intact, else the original."""
    entry = _entry(folder, file)
    if isinstance(entry, str):
        log.warning("pack.not_prepared", file=file.name, why=entry)
        return folder / file.name
    graph = (entry.cpu if provider == CPU else None) or entry.free
    if graph is None:
        return folder / file.name
    if not _intact(folder, graph):
        log.warning("pack.not_prepared", file=file.name, why=f"{graph.name} is damaged")
        return folder / file.name
    return folder / FOLDER / graph.name


def unprepared(folder: Path, manifest: Manifest) -> list[str]:
    """Names of the models whose preparation is missing, stale or damaged."""
    entries = {file.name: _entry(folder, file) for file in _models(folder, manifest)}
    return [
        name
        for name, entry in entries.items()
        if isinstance(entry, str) or not all(_intact(folder, graph) for graph in entry.graphs)
    ]


def prepare(folder: Path, manifest: Manifest, *, say: Callable[[str], None]) -> Record:
    """Write prepared graphs beside the models of an intact pack, and the record that makes them valid, last.

    The same models give the same bytes. A stop half-way leaves a pack that runs as it came.

    Raises:
        SettingsError: the folder cannot be written.
    """
    target = folder / FOLDER
    try:
        target.mkdir(exist_ok=True)
        files = {file.name: _prepare(folder / file.name, file, target) for file in _models(folder, manifest)}
        measurement = _measurement(folder, manifest)
        record = Record(
            format=1,
            version=VERSION,
            files=files,
            recognisability=measurement if isinstance(measurement, Measurement) else None,
        )
        _replace(target / RECORD, (record.model_dump_json(indent=2) + "\n").encode())
        wanted = {RECORD, *(graph.name for entry in files.values() for graph in entry.graphs)}
        for left in target.iterdir():
            if left.name not in wanted:
                left.unlink()
    except OSError as error:
        msg = f"{manifest.name} was not prepared, and runs as it came: {target}: {error.strerror}"
        raise SettingsError(msg) from None
    for name, entry in files.items():
        for step, why in entry.rejected.items():
            say(f"{manifest.name}: {name} stays without '{step}': {why}")
    most = max((graph.difference for entry in files.values() for graph in entry.graphs), default=0.0)
    count = sum(bool(entry.graphs) for entry in files.values())
    equal = f"answers within {most:.0e} of the originals'" if most else "answers the same to the bit"
    within = equal if count else "the pack runs as it came"
    say(f"{manifest.name}: prepared {count} of {len(files)} models, {within}")
    if isinstance(measurement, Measurement):
        people = measurement.portraits
        say(f"{manifest.name}: measured recognisability with {people} portraits; the limits are provisional")
    elif measurement is not None:
        say(f"{manifest.name}: no measure of recognisability: {measurement}")
    return record


def recognisability(folder: Path, recogniser: str, *, limits: RecognisabilityLimits | None = None) -> Measure:
    """What tells faces that a pack cannot recognise. Without a measurement, heads that lie on their side still are.

    Args:
        folder: the pack's files.
        recogniser: checksum of its recognition model.
        limits: those of its manifest, which go before the measured ones.
    """
    measurement = known(recogniser) or _recorded(folder, recogniser)
    if measurement is None:
        log.warning("pack.unmeasured", pack=folder.name, detail="no measure of recognisability: prepare the pack")
    measure = Measure(max_roll=MAX_ROLL) if measurement is None else measurement.measure()
    return measure if limits is None else replace(measure, **limits.model_dump(exclude_none=True))


def _recorded(folder: Path, recogniser: str) -> Measurement | None:
    try:
        record = Record.model_validate_json((folder / FOLDER / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None
    measurement = record.recognisability
    return measurement if measurement and measurement.recogniser == recogniser else None


def _measurement(folder: Path, manifest: Manifest) -> Measurement | str | None:
    """The measurement, or why there is none; None where one comes with this version."""
    return measured(folder, manifest) if known(manifest.recogniser.sha256) is None else None


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
    return "stale" if record.version != VERSION or entry is None or entry.source != file.sha256 else entry


def _intact(folder: Path, graph: Graph) -> bool:
    path = folder / FOLDER / graph.name
    return path.is_file() and sha256_of(path) == graph.sha256


def _prepare(source: Path, file: PackFile, target: Path) -> Prepared:
    """Make and write the graphs of one model file."""
    # A worker never needs these two: preparation alone reads and compares graphs.
    import onnx  # noqa: PLC0415

    from worker.packs import proof, rewriting  # noqa: PLC0415

    if file.role is None or file.preprocessing is None:
        msg = f"{file.name} has no role"
        raise ValueError(msg)
    try:
        model = onnx.load(source)
        original = proof.Original(model, file.preprocessing)
    except Exception as error:  # noqa: BLE001 - the parser's exceptions share no base but this
        return Prepared(
            source=file.sha256, free=None, cpu=None, rejected={"any step": str(error) or type(error).__name__}
        )
    wanted = rewriting.FREE.get(file.role, rewriting.FREE_OTHERWISE)
    free = rewriting.rewritten(rewriting.Rewritten(model=model), wanted, original=original)
    faster = rewriting.rewritten(free, rewriting.FASTER, original=original)
    return Prepared(
        source=file.sha256,
        free=_written(free, target / source.name) if free.steps else None,
        cpu=_written(faster, target / f"{source.stem}.cpu.onnx") if faster.steps != free.steps else None,
        rejected=faster.rejected,
    )


def _written(made: "Rewritten", path: Path) -> Graph:
    data = made.model.SerializeToString(deterministic=True)
    _replace(path, data)
    return Graph(
        name=path.name,
        sha256=hashlib.sha256(data).hexdigest(),
        steps=made.steps,
        cosine=made.agreement.cosine,
        difference=made.agreement.difference,
    )


def _replace(path: Path, data: bytes) -> None:
    """Put a file in place whole: a stop half-way leaves the one before, and a part that the next run removes."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
