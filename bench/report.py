"""The report of a run: every figure, every target, and plainly whether it was reached."""

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.statistic import Ratio
from bench.targets import ROWS, TARGETS


@dataclass(slots=True)
class Report:
    """What a run found."""

    about: dict[str, Any]
    ratios: dict[str, dict[str, float]] = field(default_factory=dict)
    """By row of `TARGETS`, then by column."""
    spread: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Least and most of the rounds behind a ratio."""
    figures: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Why a row was not measured."""
    reasons: list[str] = field(default_factory=list)
    """Why targets were missed, with the figures that say so."""

    def put(self, row: str, column: str, value: float | Ratio) -> None:
        """Note what a row reached; row and column must be those of a target."""
        if column not in ROWS[row].limits:
            raise KeyError(column)
        if isinstance(value, Ratio):
            self.spread.setdefault(row, {})[column] = [round(value.least, 3), round(value.most, 3)]
            value = value.value
        self.ratios.setdefault(row, {})[column] = round(value, 3)

    def note(self, name: str, column: str, samples: Sequence[float], *, unit: str) -> None:
        """Keep the samples of a figure."""
        self.figures.setdefault(name, {})[column] = {
            "unit": unit,
            "median": round(statistics.median(samples), 4),
            "least": round(min(samples), 4),
            "most": round(max(samples), 4),
            "samples": [round(sample, 4) for sample in samples],
        }

    def median(self, name: str, column: str) -> float | None:
        """The median of a figure, where it was measured."""
        found = self.figures.get(name, {}).get(column)
        return None if found is None else float(found["median"])

    def missed(self) -> Iterator[tuple[str, str]]:
        """Row and column of every target that was measured and not reached."""
        for target in TARGETS:
            for column, value in self.ratios.get(target.row, {}).items():
                if not target.met(column, value):
                    yield target.row, column

    def write(self, folder: Path, name: str) -> list[Path]:
        """Write the JSON and the Markdown."""
        folder.mkdir(parents=True, exist_ok=True)
        machine, person = folder / f"{name}.json", folder / f"{name}.md"
        machine.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        person.write_text(self.markdown(), encoding="utf-8")
        return [machine, person]

    def markdown(self) -> str:
        """The report for a person."""
        missed = len(list(self.missed()))
        measured = sum(len(columns) for columns in self.ratios.values())
        lines = ["# Bench", "", f"**{measured - missed} of {measured} targets met, {missed} missed.** ", ""]
        lines[2] += "What each row means: [README](../README.md)."
        lines += [f"- {name}: {value}" for name, value in self.about.items()]
        lines += ["", "## Targets", "", "| what | picture | must | reached | rounds, least to most | |"]
        lines += ["|---|---|---|---|---|---|", *self._targets()]
        if self.reasons:
            lines += ["", "## Why targets were missed", "", *(f"- {reason}" for reason in self.reasons)]
        lines += ["", "## Figures", "", "Medians of this run.", ""]
        lines += ["| figure | picture | median | least to most | samples |", "|---|---|---|---|---|"]
        for name, columns in self.figures.items():
            for column, found in columns.items():
                spread = f"{_short(found['least'])} to {_short(found['most'])}"
                shown = f"{_short(found['median'])} {found['unit']}"
                lines.append(f"| {name} | {column} | {shown} | {spread} | {len(found['samples'])} |")
        return "\n".join(lines) + "\n"

    def _targets(self) -> Iterator[str]:
        for target in TARGETS:
            for column, limit in target.limits.items():
                reached = self.ratios.get(target.row, {}).get(column)
                must = f"{target.sense} {limit:g} {target.unit}".strip()
                if reached is None:
                    why = self.skipped.get(target.row, "not measured")
                    yield f"| {target.row} | {column} | {must} | - | - | {why} |"
                    continue
                verdict = "met" if target.met(column, reached) else "**missed**"
                least_most = self.spread.get(target.row, {}).get(column)
                between = f"{least_most[0]:g} to {least_most[1]:g}" if least_most else "-"
                shown = f"{reached:g} {target.unit}".strip()
                yield f"| {target.row} | {column} | {must} | {shown} | {between} | {verdict} |"


def _short(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"  # noqa: PLR2004 - where a fraction says nothing
