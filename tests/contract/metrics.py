"""Every metric of every process, from the code; `python -m tests.contract.metrics` writes the table in the docs."""

import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from prometheus_client.metrics import MetricWrapperBase

import api.http.metrics
import worker.courier.metrics
import worker.metrics
from api.backend.store_metrics import COUNTERS, GAUGES

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "observability.md"
BEGIN: Final = "<!-- metrics: written by `python -m tests.contract.metrics` -->"
END: Final = "<!-- metrics end -->"
SUFFIXES: Final = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


@dataclass(frozen=True)
class Family:
    """One metric by the name that queries use; a histogram's has no suffix."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    process: str

    @property
    def series(self) -> set[str]:
        """The names of its samples."""
        return {self.name + suffix for suffix in SUFFIXES[self.kind]}


def families() -> list[Family]:
    """All metrics, process by process."""
    ledger = [Family(name, "gauge", labels, text, "gateway (ledger)") for name, (text, labels) in GAUGES.items()]
    ledger += [Family(name, "counter", labels, text, "gateway (ledger)") for name, (text, labels) in COUNTERS.items()]
    return [
        *_of(api.http.metrics, "gateway"),
        *ledger,
        *_of(worker.metrics, "worker"),
        *_of(worker.courier.metrics, "courier"),
    ]


def _of(module: ModuleType, process: str) -> list[Family]:
    found = [value for value in vars(module).values() if isinstance(value, MetricWrapperBase)]
    return [
        Family(
            name=metric._name + ("_total" if metric._type == "counter" else ""),
            kind=str(metric._type),
            labels=tuple(metric._labelnames),
            meaning=metric._documentation,
            process=process,
        )
        for metric in found
    ]


def table() -> str:
    """The table in the docs."""
    rows = ["| metric | type | labels | served by | meaning |", "|---|---|---|---|---|"]
    for one in families():
        labels = ", ".join(f"`{label}`" for label in one.labels)
        rows.append(f"| `{one.name}` | {one.kind} | {labels} | {one.process} | {one.meaning} |")
    return "\n".join(rows)


def written() -> str:
    """The document with the current table."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return re.sub(
        f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: f"{BEGIN}\n{table()}\n{END}", text, flags=re.DOTALL
    )


if __name__ == "__main__":
    DOCUMENT.write_text(written(), encoding="utf-8")
