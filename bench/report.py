"""The report of a run: every figure, and every target with its verdict."""

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
    """The results of a run."""

    about: dict[str, Any]
    ratios: dict[str, dict[str, float]] = field(default_factory=dict)
    """By row of `TARGETS`, then by column."""
    spread: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Minimum and maximum of the rounds of a ratio."""
    figures: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Why a row was not measured."""
    reasons: list[str] = field(default_factory=list)
    """Why targets were missed, with the relevant figures."""

    def put(self, row: str, column: str, value: float | Ratio) -> None:
        """Set the value of a target's row and column."""
        if column not in ROWS[row].limits:
            raise KeyError(column)
        if isinstance(value, Ratio):
            self.spread.setdefault(row, {})[column] = [round(value.least, 3), round(value.most, 3)]
            value = value.value
        self.ratios.setdefault(row, {})[column] = round(value, 3)

    def note(self, name: str, column: str, samples: Sequence[float], *, unit: str) -> None:
        """Add the samples of a figure."""
        self.figures.setdefault(name, {})[column] = {
            "unit": unit,
            "median": round(statistics.median(samples), 4),
            "least": round(min(samples), 4),
            "most": round(max(samples), 4),
            "samples": [round(sample, 4) for sample in samples],
        }

    def median(self, name: str, column: str) -> float | None:
        """Return the median of a figure, or None if it was not measured."""
        figure = self.figures.get(name, {}).get(column)
        return None if figure is None else float(figure["median"])

    def missed(self) -> Iterator[tuple[str, str]]:
        """Yield the row and column of every missed target."""
        for target in TARGETS:
            for column, value in self.ratios.get(target.row, {}).items():
                if not target.met(column, value):
                    yield target.row, column

    def write(self, folder: Path, name: str) -> list[Path]:
        """Write the JSON and Markdown files and return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        json_file, markdown_file = folder / f"{name}.json", folder / f"{name}.md"
        json_file.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        markdown_file.write_text(self.markdown(), encoding="utf-8")
        return [json_file, markdown_file]

    def markdown(self) -> str:
        """Return the report as Markdown."""
        missed = len(list(self.missed()))
        measured = sum(len(columns) for columns in self.ratios.values())
        lines = ["# Bench", "", f"**{measured - missed} of {measured} targets met, {missed} missed.** ", ""]
        lines[2] += "The [README](../README.md) explains each row."
        lines += [f"- {name}: {value}" for name, value in self.about.items()]
        lines += ["", "## Targets", "", "| target | picture | required | measured | range of rounds | verdict |"]
        lines += ["|---|---|---|---|---|---|", *self._targets()]
        if self.reasons:
            lines += ["", "## Why targets were missed", "", *(f"- {reason}" for reason in self.reasons)]
        lines += ["", "## Figures", "", "Medians of this run.", ""]
        lines += ["| figure | picture | median | range | samples |", "|---|---|---|---|---|"]
        for name, columns in self.figures.items():
            for column, figure in columns.items():
                spread = f"{_short(figure['least'])} to {_short(figure['most'])}"
                median = f"{_short(figure['median'])} {figure['unit']}"
                lines.append(f"| {name} | {column} | {median} | {spread} | {len(figure['samples'])} |")
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
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"  # noqa: PLR2004 - no fraction from 1,000 on
