"""The report of a run: every figure, every target, and plainly whether it was reached."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal


@dataclass(frozen=True, slots=True)
class Target:
    """A row of the report: what must be reached for each picture."""

    row: str
    sense: Literal[">=", "<="]
    limits: dict[str, float]
    """By column."""
    unit: str = ""

    def met(self, column: str, value: float) -> bool:
        """Whether a value reaches the limit of this column."""
        limit = self.limits[column]
        return value >= limit if self.sense == ">=" else value <= limit


BOTH: Final = ("t1", "one")
TARGETS: Final = (
    Target("engine in process / FaceAnalysis.get", ">=", {"t1": 1.40, "one": 1.10}),
    Target("engine, all cores / raw limit", ">=", {"t1": 0.95, "one": 0.95}),
    Target("whole service at saturation / raw limit", ">=", {"t1": 0.90, "one": 0.88}),
    Target("whole service / synchronous service", ">=", {"t1": 1.8, "one": 1.05}),
    Target("p99 at 64 clients / synchronous service", "<=", {"t1": 0.35, "one": 0.7}),
    Target("whole service with OpenVINO bf16 / synchronous service", ">=", {"t1": 3.0, "one": 2.0}),
    Target("submit to result when idle, less the engine's own time (median)", "<=", {"one": 10.0}, "ms"),
    Target("accepted 202 while workers are saturated (p99)", "<=", {"one": 50.0}, "ms"),
    Target("12-megapixel JPEG / 1-megapixel", "<=", {"one": 1.5}),
    Target("worker memory after all jobs / after a tenth of them", "<=", {"mixed": 1.10}),
    Target("worker memory with two job threads", "<=", {"mixed": 300.0}, "MiB"),
)


@dataclass(slots=True)
class Report:
    """What a run found."""

    about: dict[str, Any]
    ratios: dict[str, dict[str, float]] = field(default_factory=dict)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def put(self, row: str, column: str, value: float) -> None:
        """Note what a row reached; the row must be one of the targets."""
        if row not in {target.row for target in TARGETS}:
            raise KeyError(row)
        self.ratios.setdefault(row, {})[column] = round(value, 3)

    def note(self, name: str, column: str, samples: Sequence[float], *, unit: str) -> None:
        """Keep the samples of a figure."""
        self.figures.setdefault(name, {})[column] = {
            "unit": unit,
            "median": round(statistics.median(samples), 4),
            "least": round(min(samples), 4),
            "most": round(max(samples), 4),
            "samples": len(samples),
        }

    def write(self, folder: Path, name: str) -> list[Path]:
        """Write the JSON and the Markdown."""
        folder.mkdir(parents=True, exist_ok=True)
        machine, person = folder / f"{name}.json", folder / f"{name}.md"
        machine.write_text(json.dumps(asdict(self), indent=2) + "\n")
        person.write_text(self.markdown())
        return [machine, person]

    def markdown(self) -> str:
        """The report for a person."""
        lines = ["# Bench", ""]
        lines += [f"- {name}: {value}" for name, value in self.about.items()]
        lines += ["", "## Ratios and limits", "", "| what | picture | must | reached | |", "|---|---|---|---|---|"]
        for target in TARGETS:
            for column, limit in target.limits.items():
                reached = self.ratios.get(target.row, {}).get(column)
                verdict = self.skipped.get(target.row, "not measured") if reached is None else ""
                if reached is not None:
                    verdict = "met" if target.met(column, reached) else "**missed**"
                shown = "-" if reached is None else f"{reached:g} {target.unit}".strip()
                must = f"{target.sense} {limit:g} {target.unit}".strip()
                lines.append(f"| {target.row} | {column} | {must} | {shown} | {verdict} |")
        lines += [
            "",
            "## Figures",
            "",
            "| figure | picture | median | least to most | samples |",
            "|---|---|---|---|---|",
        ]
        for name, columns in self.figures.items():
            for column, found in columns.items():
                spread = f"{found['least']:g} to {found['most']:g}"
                shown = f"{found['median']:g} {found['unit']}"
                lines.append(f"| {name} | {column} | {shown} | {spread} | {found['samples']} |")
        if self.stages:
            lines += ["", "## Where the time of one job goes", "", "Processor milliseconds of one thread.", ""]
            names = list(dict.fromkeys(stage for found in self.stages.values() for stage in found))
            lines += ["| picture | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
            for column, found in self.stages.items():
                lines.append(f"| {column} | " + " | ".join(f"{found.get(name, 0):.2f}" for name in names) + " |")
        return "\n".join(lines) + "\n"


def percentile(samples: Sequence[float], share: float) -> float:
    """The least sample that at least this share of them does not exceed (nearest rank).

    Raises:
        ValueError: no samples.
    """
    if not samples:
        msg = "no samples"
        raise ValueError(msg)
    ordered = sorted(samples)
    return ordered[max(0, -(-int(share * 10_000) * len(ordered) // 10_000) - 1)]
