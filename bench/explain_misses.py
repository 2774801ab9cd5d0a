"""Says why a target was missed, from the figures of the same run."""

from collections.abc import Callable, Mapping
from typing import Final

from bench import targets
from bench.report import Report

STAGES: Final = ("decode", "detect", "align", "embed")


def explain_misses(report: Report) -> list[str]:
    """A line for each target that was missed."""
    return [f"{row}, {column}: {SAYS[row](report, column)}" for row, column in report.missed()]


def _engine(report: Report, column: str) -> str:
    engine, models, detect, detector, align, embed, recogniser = (
        report.median(f"{piece}, one thread", column) or 0.0
        for piece in ("engine", "models alone", "detect", "detector alone", "align", "embed", "recogniser alone")
    )
    return (
        f"of {engine:.1f} CPU ms the models alone take {models:.1f} ({_share(models, engine)}); around the detector "
        f"{detect - detector:.1f}, align {align:.1f}, around the recogniser {embed - recogniser:.1f}."
    )


def _service(report: Report, column: str) -> str:
    spent, raw = _of_a_job(report, "service", column), _raw(report, column)
    every = sum(spent.values())
    return (
        f"a job costs {_told(spent)}; the bare models cost {raw:.1f} ({_share(raw, every)}), which is the most that "
        "can be reached of the raw limit while the clients run on the same cores."
    )


def _rival(report: Report, column: str, *, name: str = "service", rival: str = "synchronous service") -> str:
    spent, theirs = _of_a_job(report, name, column), _of_a_job(report, rival, column)
    every, other = sum(spent.values()), sum(theirs.values())
    times = other / every if every else 0.0
    return (
        f"a job costs {_told(spent)}, in the {rival} {other:.1f}: x{times:.2f} in processor time; the bare "
        f"models of f32 cost {_raw(report, column):.1f}."
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


def _told(spent: Mapping[str, float]) -> str:
    parts = ", ".join(f"{part} {value:.1f}" for part, value in sorted(spent.items(), key=lambda item: -item[1]))
    return f"{sum(spent.values()):.1f} CPU ms ({parts})"


def _raw(report: Report, column: str) -> float:
    end = "between the services, of a picture"
    found = (columns[column]["median"] for figure, columns in report.figures.items()
             if figure.endswith(end) and column in columns)  # fmt: skip
    return float(next(found, 0.0))


def _idle(report: Report, column: str) -> str:
    over = report.median("idle, of that not the engine's", column) or 0.0
    queue = report.median("idle, stage queue", column) or 0.0
    stages = ", ".join(
        f"{stage} {value:.1f}"
        for stage in STAGES
        if (value := report.median(f"idle, stage {stage}", column)) is not None
    )
    return (
        f"from submit to claim {queue:.1f} ms, sending the picture, writing and reading the result "
        f"{over - queue:.1f} ms; the engine: {stages} ms."
    )


def _accepted(report: Report, column: str) -> str:
    found = report.figures["202 while workers are saturated"][column]
    return f"median {found['median']:.1f} ms, longest {found['most']:.1f} ms: the gateway waits for a core."


def _durable(report: Report, column: str) -> str:
    without = report.median("ledger alone, 16 clients, accepted, appendfsync everysec", column) or 0.0
    return f"{without:.0f} jobs/s where nobody waits for the disk: that much clients and server can do on these cores."


def _lag(report: Report, column: str) -> str:
    name = "end to arrival, {} of 1000 endpoints hang, p50"
    without, hanging = (report.median(name.format(count), column) or 0.0 for count in (0, 100))
    rate = report.median("webhook deliveries, one courier", column) or 0.0
    return f"{hanging:.0f} ms where 100 hang, {without:.0f} ms where none does; one courier sends {rate:.0f} a second."


def _large(report: Report, column: str) -> str:
    large, small = (report.median(f"embed job at {size} megapixels, one thread", column) or 0.0 for size in (12, 1))
    return f"{large:.1f} CPU ms against {small:.1f}: reading the photo costs the {large - small:.1f} ms between them."


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
