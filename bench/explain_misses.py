"""Explain why a target was missed, from the figures of the same run."""

from collections.abc import Callable, Mapping
from typing import Final

from bench import targets
from bench.report import Report

STAGES: Final = ("decode", "detect", "align", "embed")


def explain_misses(report: Report) -> list[str]:
    """Return one line for each missed target."""
    return [f"{row}, {column}: {SAYS[row](report, column)}" for row, column in report.missed()]


def _engine(report: Report, column: str) -> str:
    engine, models, detect, detector, align, embed, recogniser = (
        report.median(f"{piece}, one thread", column) or 0.0
        for piece in ("engine", "models alone", "detect", "detector alone", "align", "embed", "recogniser alone")
    )
    return (
        f"the engine uses {engine:.1f} CPU ms, of which the models alone use {models:.1f} ({_share(models, engine)}), "
        f"detector overhead {detect - detector:.1f}, align {align:.1f}, recognizer overhead {embed - recogniser:.1f}."
    )


def _service(report: Report, column: str) -> str:
    spent, raw = _of_a_job(report, "service", column), _raw(report, column)
    every = sum(spent.values())
    return (
        f"a job costs {_breakdown(spent)}; the bare models cost {raw:.1f} ({_share(raw, every)}), which is the maximum "
        "share of the raw limit while the clients run on the same cores."
    )


def _rival(report: Report, column: str, *, name: str = "service", rival: str = "synchronous service") -> str:
    spent, theirs = _of_a_job(report, name, column), _of_a_job(report, rival, column)
    every, other = sum(spent.values()), sum(theirs.values())
    times = other / every if every else 0.0
    return (
        f"a job costs {_breakdown(spent)}, and {other:.1f} in the {rival}: a factor of {times:.2f} in CPU time; the "
        f"bare f32 models cost {_raw(report, column):.1f}."
    )


def _celery(report: Report, column: str) -> str:
    return _rival(report, column, rival="plain Celery service")


def _bf16(report: Report, column: str) -> str:
    return _rival(report, column, name="service with OpenVINO bf16")


def _of_a_job(report: Report, name: str, column: str) -> dict[str, float]:
    begin, end = f"{name}, saturated, ", ", of a job"
    return {
        figure[len(begin) : -len(end)]: columns[column]["median"]
        for figure, columns in report.figures.items()
        if figure.startswith(begin) and figure.endswith(end) and column in columns
    }


def _breakdown(spent: Mapping[str, float]) -> str:
    parts = ", ".join(f"{part} {value:.1f}" for part, value in sorted(spent.items(), key=lambda item: -item[1]))
    return f"{sum(spent.values()):.1f} CPU ms ({parts})"


def _raw(report: Report, column: str) -> float:
    end = "between the services, of a picture"
    medians = (columns[column]["median"] for figure, columns in report.figures.items()
             if figure.endswith(end) and column in columns)  # fmt: skip
    return float(next(medians, 0.0))


def _idle(report: Report, column: str) -> str:
    over = report.median("idle, of that not the engine's", column) or 0.0
    queue = report.median("idle, stage queue", column) or 0.0
    stages = ", ".join(
        f"{stage} {value:.1f}"
        for stage in STAGES
        if (value := report.median(f"idle, stage {stage}", column)) is not None
    )
    return (
        f"submission to claim takes {queue:.1f} ms; sending the picture and writing and reading the result take "
        f"{over - queue:.1f} ms; engine stages in ms: {stages}."
    )


def _accepted(report: Report, column: str) -> str:
    figure = report.figures["202 while workers are saturated"][column]
    return f"median {figure['median']:.1f} ms, maximum {figure['most']:.1f} ms: the gateway waits for a core."


def _durable(report: Report, column: str) -> str:
    without = report.median("ledger alone, 16 clients, accepted, appendfsync everysec", column) or 0.0
    return f"without waiting for the disk, clients and server reach {without:.0f} jobs/s on these cores."


def _lag(report: Report, column: str) -> str:
    name = "end to arrival, {} of 1000 endpoints hang, p50"
    without, hanging = (report.median(name.format(count), column) or 0.0 for count in (0, 100))
    rate = report.median("webhook deliveries, one courier", column) or 0.0
    return f"{hanging:.0f} ms if 100 hang, {without:.0f} ms if none does; one courier sends {rate:.0f} per second."


def _large(report: Report, column: str) -> str:
    large, small = (report.median(f"embed job at {size} megapixels, one thread", column) or 0.0 for size in (12, 1))
    return f"{large:.1f} CPU ms compared with {small:.1f}: decoding the photo accounts for {large - small:.1f} ms."


def _memory(report: Report, column: str) -> str:
    sizes = [
        f"{figure.removeprefix('worker memory ').removesuffix(', resident')} {columns[column]['median']:.0f} MiB"
        for figure, columns in report.figures.items()
        if figure.startswith("worker memory ") and figure.endswith(", resident") and column in columns
    ]
    return ", ".join(sizes) + "."


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "-"


SAYS: Final[Mapping[str, Callable[[Report, str], str]]] = {
    targets.FACE_ANALYSIS: _engine,
    targets.RAW_LIMIT: _engine,
    targets.SERVICE_RAW: _service,
    targets.SERVICE_SYNC: _rival,
    targets.SERVICE_CELERY: _celery,
    targets.P99: _rival,
    targets.BF16: _bf16,
    targets.IDLE: _idle,
    targets.ACCEPTED: _accepted,
    targets.DURABLE: _durable,
    targets.LAG: _lag,
    targets.LARGE: _large,
    targets.GROWTH: _memory,
    targets.MEMORY: _memory,
}
