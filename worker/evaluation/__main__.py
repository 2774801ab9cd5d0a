"""Command line: `python -m worker.evaluation pairs | liveness | effects | detection`, on labelled pictures."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final, get_args

from shared.errors import SettingsError
from shared.operations import OneFaceParams, Select
from shared.settings import load
from worker.engine.base import EngineInfo
from worker.engine.load import load_engine
from worker.evaluation import report
from worker.evaluation.attacks import verdict
from worker.evaluation.comparisons import compared, everyone
from worker.evaluation.curves import drawing
from worker.evaluation.effects import effects
from worker.evaluation.effects_laboratory import laboratory
from worker.evaluation.groups import Within, grouped
from worker.evaluation.labels import Pair, Portrait, read_pairs, read_presentations
from worker.evaluation.passes import compared as compared_passes
from worker.evaluation.people import people
from worker.evaluation.rates import Scores, points, table
from worker.evaluation.reading import Reader, decided, vectors
from worker.evaluation.recognition import recognition
from worker.evaluation.responses import responses
from worker.execution.threads import job_threads
from worker.operations.coarse_to_fine import PLAN, Plan
from worker.settings import WorkerSettings

CALIBRATION: Final = "calibration.json"
CURVE: Final = "curve.svg"
PAIRS: Final = "pairs.csv"

Say = Callable[[str], object]


def main(arguments: Sequence[str] | None = None, *, say: Say = print) -> int:
    """Run one command. Exit status: 0 success, 1 failure (see standard error), 2 usage error."""
    options = _parser().parse_args(arguments)
    try:
        COMMANDS[options.command](options, say)
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _pairs(options: argparse.Namespace, say: Say) -> None:
    labels = read_pairs(options.table, pictures=options.pictures)
    pairs = [label for label in labels if isinstance(label, Pair)]
    portraits = [label for label in labels if isinstance(label, Portrait)]
    pictures = [path for pair in pairs for path in (pair.one, pair.two)] + [each.picture for each in portraits]
    reader = _reader(options)
    info = reader.engine.info
    say(f"{info.pack}, {info.contract}, {info.provider}: reading {len(set(pictures))} pictures")
    readings = reader.embeddings(pictures)
    for line in report.refusals(readings.refused):
        say(line)
    compare = partial(compared, pairs) if pairs else partial(everyone, portraits)
    match, measure = info.thresholds.match, info.recognisability
    for line in recognition(readings.of, vectors(readings.of), compare, measure=measure, match=match):
        say(line)
    recognised = vectors(decided(readings.of))
    comparisons = compare(recognised)
    for line in report.verification(comparisons, match=info.thresholds.match):
        say(line)
    say("")
    groups = grouped(labels, recognised)
    for line in report.within_groups(groups, comparisons.scores, match=info.thresholds.match):
        say(line)
    _write(comparisons.scores, groups, info, options, count=len(recognised), say=say)


def _write(
    scores: Scores,
    groups: Sequence[Within],
    info: EngineInfo,
    options: argparse.Namespace,
    *,
    count: int,
    say: Say,
) -> None:
    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    title = f"{info.pack}: {len(scores.genuine):,} genuine, {len(scores.impostor):,} impostor pairs"
    marks = [(point.fmr, point.threshold) for point in points(scores.impostors)]
    (folder / CURVE).write_text(drawing(scores, title=title, marks=marks), encoding="utf-8")
    say(f"The curves are in {folder / CURVE}.")
    source = options.source or f"{count} pictures of {options.table.name}"
    populations = [each for group in groups if (each := group.table(source=source))]
    calibration = table(scores, contract=info.contract, source=source, populations=populations)
    (folder / CALIBRATION).unlink(missing_ok=True)  # an older table must not be mistaken for the new one
    if calibration is None:
        say(
            f"{CALIBRATION} was not written: the pairs support fewer than two false-match rates, and a table needs two."
        )
        return
    (folder / CALIBRATION).write_text(json.dumps(asdict(calibration), indent=2) + "\n", encoding="utf-8")
    say(f"The table is in {folder / CALIBRATION}: add it to the pack's manifest as `calibration`.")


def _liveness(options: argparse.Namespace, say: Say) -> None:
    shown = read_presentations(options.table, pictures=options.pictures)
    reader = _reader(options)
    info = reader.engine.info
    if info.liveness_model is None:
        msg = f"The model pack {info.pack} has no passive liveness model."
        raise SettingsError(msg)
    say(
        f"{info.pack}, {info.liveness_model}, {info.provider}: reading {len({each.picture for each in shown})} pictures"
    )
    readings = reader.liveness([each.picture for each in shown])
    for line in report.refusals(readings.refused):
        say(line)
    counted = verdict(shown, readings.of)
    for line in report.liveness(counted, live=info.thresholds.live, spoof=info.thresholds.spoof):
        say(line)


def _effects(options: argparse.Namespace, say: Say) -> None:
    table = options.table or (options.pictures or Path()) / PAIRS
    labelled = people(read_pairs(table, pictures=options.pictures), most=options.most)
    reader = _reader(options)
    info = reader.engine.info
    say(f"{info.pack}, {info.contract}, {info.provider}: reading {len(labelled.pictures)} pictures")
    room = laboratory(
        reader.engine, labelled, params=reader.params, max_pixels=reader.max_pixels, threads=reader.threads
    )
    for line in report.refusals(room.refused):
        say(line)
    if not room.samples:
        msg = f"None of the pictures in {table} has exactly one prominent face."
        raise SettingsError(msg)
    for line in effects(room):
        say(line)


def _detection(options: argparse.Namespace, say: Say) -> None:
    pairs = [label for label in read_pairs(options.table, pictures=options.pictures) if isinstance(label, Pair)]
    if not pairs:
        msg = f"{options.table} needs the columns image1, image2, same"
        raise SettingsError(msg)
    reader = _reader(options)
    if not reader.engine.info.coarse_to_fine:
        msg = f"The detector of {reader.engine.info.pack} takes one size only; prepare the pack, or use another one"
        raise SettingsError(msg)
    paths = sorted({path for pair in pairs for path in (pair.one, pair.two)})
    pictures = {path: reader.decoded(path) for path in paths}
    say(f"{reader.engine.info.pack}, {reader.engine.info.provider}, {options.plan}")
    lines = responses(reader.engine, pictures, options.plan)
    for line in chain(lines, [""], compared_passes(reader.engine, pictures, pairs, options.plan)):
        say(line)


COMMANDS: Final[dict[str, Callable[[argparse.Namespace, Say], None]]] = {
    "pairs": _pairs,
    "liveness": _liveness,
    "effects": _effects,
    "detection": _detection,
}


def _reader(options: argparse.Namespace) -> Reader:
    settings = load(WorkerSettings)
    wanted = {"pack": options.pack, "models_dir": options.models_dir}
    settings = settings.model_copy(update={name: value for name, value in wanted.items() if value is not None})
    return Reader(
        load_engine(settings),
        params=OneFaceParams(select=options.select),
        max_pixels=settings.max_pixels,
        threads=job_threads(settings.worker_threads, provider=settings.provider),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m worker.evaluation", description="Error rates on labelled pictures."
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--pictures",
        type=Path,
        help="folder that the paths in the table are relative to (default: the folder of the table)",
    )
    common.add_argument("--pack", help="model pack (default: VULTUS_PACK)")
    common.add_argument("--models-dir", type=Path, help="folder of the packs (default: VULTUS_MODELS_DIR)")
    common.add_argument(
        "--select", choices=get_args(Select), default="prominent", help="which of several faces to choose"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    pairs = commands.add_parser(
        "pairs", parents=[common], help="false-match and false-non-match rates, and a calibration table"
    )
    pairs.add_argument(
        "table",
        type=Path,
        help="CSV with image1, image2, same; or image, person to compare every pair; optionally group",
    )
    pairs.add_argument("--out", type=Path, default=Path(".data/calibration"), help="folder for the results")
    pairs.add_argument("--source", help="description of the pictures, for the calibration table")
    live = commands.add_parser("liveness", parents=[common], help="APCER and BPCER")
    live.add_argument("table", type=Path, help="CSV with image, label (live, spoof), attack (kind of attack)")
    measured = commands.add_parser("effects", parents=[common], help="how damage and quality gates affect decisions")
    measured.add_argument(
        "table", type=Path, nargs="?", help=f"as for pairs (default: {PAIRS} in the folder of the pictures)"
    )
    measured.add_argument(
        "--most", type=int, default=40, help="number of pictures to read, spread over the people; 40 take a few minutes"
    )
    passes = commands.add_parser("detection", parents=[common], help="coarse-to-fine against full detection")
    passes.add_argument("table", type=Path, help="CSV with image1, image2, same")
    passes.add_argument(
        "--plan",
        type=_plan,
        default=PLAN,
        metavar="NAME=VALUE,...",
        help=f"sizes and limits to try, such as fine=224,smallest=12 ({', '.join(Plan._fields)})",
    )
    return parser


def _plan(text: str) -> Plan:
    """Parse text such as `fine=224,smallest=12`."""
    values = dict(part.split("=", 1) for part in text.split(","))
    if unknown := values.keys() - set(Plan._fields):
        msg = f"unknown: {', '.join(sorted(unknown))}"
        raise argparse.ArgumentTypeError(msg)
    return PLAN._replace(**{name: type(getattr(PLAN, name))(value) for name, value in values.items()})


if __name__ == "__main__":
    sys.exit(main())
