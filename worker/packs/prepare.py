"""Prepare a pack: create faster and more flexible graphs, each kept only if it proves equal to the original."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import structlog
from pydantic import ValidationError

from shared.errors import SettingsError
from shared.faces import Strict
from worker.packs.manifests import Manifest, PackFile, PlainName, RecognisabilityLimits, Sha256, sha256_of
from worker.packs.measurements import MAX_ROLL, Measurement, MeasureModel, known
from worker.packs.recognisability import Measure
from worker.packs.runtimes import Compare, Comparison

if TYPE_CHECKING:
    from worker.packs.rewriting import Rewritten

FOLDER: Final = "prepared"
RECORD: Final = "record.json"
VERSION: Final = 2
"""Increment when a rewrite changes. Until a pack is prepared again, it runs with its original graphs."""
CPU: Final = "CPUExecutionProvider"

log = structlog.get_logger(__name__)


class Graph(Strict):
    """One graph that was created from a model file."""

    name: PlainName
    sha256: Sha256
    steps: tuple[str, ...]
    cosine: float
    """Lowest cosine between its outputs and those of the original."""
    difference: float
    """Largest difference of a value, relative to the largest value of the same output."""


class Prepared(Strict):
    """The graphs that were created from one model file."""

    source: Sha256
    free: Graph | None
    """For any provider; None if no rewrite helped, so that the original is used."""
    cpu: Graph | None
    """For onnxruntime's CPU provider; None if it has no advantage over `free`."""
    rejected: dict[str, str]
    """Steps that did not prove equal, with the reason."""

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The graphs that exist."""
        return tuple(graph for graph in (self.free, self.cpu) if graph is not None)


class Record(Strict):
    """The prepared graphs of a pack, and its measurement if it needed one."""

    format: Literal[1]
    version: int
    files: dict[PlainName, Prepared]
    recognisability: Measurement | None = None
    """Measurement of a recognition model that this version does not ship one for."""
    runtimes: Comparison | None = None
    """Comparison of OpenVINO with onnxruntime, if OpenVINO was installed."""


def prepared(folder: Path, file: PackFile, *, provider: str = CPU) -> Path:
    """Return the graph to load for a file of the pack in `folder`: the prepared one if intact, else the original."""
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
    """Return the names of the models whose preparation is missing, stale or damaged."""
    entries = {file.name: _entry(folder, file) for file in _models(folder, manifest)}
    return [
        name
        for name, entry in entries.items()
        if isinstance(entry, str) or not all(_intact(folder, graph) for graph in entry.graphs)
    ]


def prepare(
    folder: Path,
    manifest: Manifest,
    *,
    say: Callable[[str], None],
    measure: MeasureModel | None = None,
    compare: Compare | None = None,
) -> Record:
    """Write prepared graphs beside the models of an intact pack; the record that makes them valid is written last.

    The same models give the same bytes. An interrupted preparation leaves a pack that runs with its original graphs.

    Args:
        folder: the pack's files.
        manifest: the pack's manifest.
        say: receives each line of the report.
        measure: measures a recognition model that this version ships no measurement for; None skips this.
        compare: compares the runtimes with the prepared pack; None skips this.

    Raises:
        SettingsError: the folder is not writable.
    """
    target = folder / FOLDER
    measurement: Measurement | str | None = None
    with _writing(manifest.name, target):
        target.mkdir(exist_ok=True)
        files = {file.name: _prepare(folder / file.name, file, target) for file in _models(folder, manifest)}
        if measure is not None and known(manifest.recogniser.sha256) is None:
            measurement = measure(folder, manifest)
        recognisability = measurement if isinstance(measurement, Measurement) else None
        record = Record(format=1, version=VERSION, files=files, recognisability=recognisability)
        _write_record(target, record)
        if compare is not None and (comparison := compare(folder, manifest)) is not None:
            record = record.model_copy(update={"runtimes": comparison})
            _write_record(target, record)
    for line in _report(record, measurement):
        say(f"{manifest.name}: {line}")
    return record


@contextmanager
def _writing(pack: str, target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{pack} was not prepared and runs with its original graphs: {target}: {error.strerror}"
        raise SettingsError(msg) from None


def _write_record(target: Path, record: Record) -> None:
    _replace(target / RECORD, (record.model_dump_json(indent=2) + "\n").encode())
    _remove_leftovers(target, record)


def _remove_leftovers(target: Path, record: Record) -> None:
    wanted = {RECORD, *(graph.name for entry in record.files.values() for graph in entry.graphs)}
    for path in target.iterdir():
        if path.name not in wanted:
            path.unlink()


def _report(record: Record, measurement: Measurement | str | None) -> Iterator[str]:
    """Yield what was prepared, what was rejected and what was measured."""
    for name, entry in record.files.items():
        for step, reason in entry.rejected.items():
            yield f"{name} stays without '{step}': {reason}"
    difference = max((graph.difference for entry in record.files.values() for graph in entry.graphs), default=0.0)
    count = sum(bool(entry.graphs) for entry in record.files.values())
    if not count:
        summary = "the pack runs with its original graphs"
    elif difference:
        summary = f"outputs within {difference:.0e} of the originals"
    else:
        summary = "outputs identical to the originals"
    yield f"prepared {count} of {len(record.files)} models, {summary}"
    if isinstance(measurement, Measurement):
        yield f"measured recognisability with {measurement.portraits} portraits; the limits are provisional"
    elif measurement is not None:
        yield f"recognisability was not measured: {measurement}"
    if record.runtimes is not None:
        yield record.runtimes.summary


def recognisability(folder: Path, recogniser: str, *, limits: RecognisabilityLimits | None = None) -> Measure:
    """Return the measure that detects unrecognizable faces; without a measurement, it only limits the roll.

    Args:
        folder: the pack's files.
        recogniser: checksum of its recognition model.
        limits: limits in the manifest, which override the measured ones.
    """
    measurement = known(recogniser) or _recorded(folder, recogniser)
    if measurement is None:
        log.warning("pack.unmeasured", pack=folder.name, detail="recognisability was not measured; prepare the pack")
    measure = Measure(max_roll=MAX_ROLL) if measurement is None else measurement.measure()
    return measure if limits is None else replace(measure, **limits.model_dump(exclude_none=True))


def prefers_openvino(folder: Path) -> bool:
    """Return whether a comparison that is valid on this machine found OpenVINO equal and faster for the pack."""
    record = _record(folder)
    comparison = record.runtimes if record else None
    if comparison is None:
        return False
    if not comparison.is_valid_here:
        log.warning("pack.runtimes_unknown", pack=folder.name, detail="compared elsewhere or before; prepare the pack")
        return False
    return comparison.prefers_openvino


def _recorded(folder: Path, recogniser: str) -> Measurement | None:
    record = _record(folder)
    measurement = record.recognisability if record else None
    return measurement if measurement and measurement.recogniser == recogniser else None


def _record(folder: Path) -> Record | None:
    try:
        return Record.model_validate_json((folder / FOLDER / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None


def _models(folder: Path, manifest: Manifest) -> Iterator[PackFile]:
    return (file for file in manifest.present(folder).files if file.role is not None)


def _entry(folder: Path, file: PackFile) -> Prepared | str:
    """Return the record's entry for a file, or why there is none."""
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
    """Create and write the graphs of one model file."""
    # Only preparation reads and compares graphs; a worker never needs these two.
    import onnx  # noqa: PLC0415

    from worker.packs import proof, rewriting  # noqa: PLC0415

    if file.role is None or file.preprocessing is None:
        msg = f"{file.name} has no role"
        raise ValueError(msg)
    try:
        model = onnx.load(source)
        original = proof.Original(model, file.preprocessing)
    except Exception as error:  # noqa: BLE001 - the parser's exceptions share no other base class
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


def _written(rewritten: "Rewritten", path: Path) -> Graph:
    data = rewritten.model.SerializeToString(deterministic=True)
    _replace(path, data)
    return Graph(
        name=path.name,
        sha256=hashlib.sha256(data).hexdigest(),
        steps=rewritten.steps,
        cosine=rewritten.agreement.cosine,
        difference=rewritten.agreement.difference,
    )


def _replace(path: Path, data: bytes) -> None:
    """Replace a file atomically. An interruption leaves the old file and a partial one, which the next run removes."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
