"""Error rates of passive liveness in the terms of ISO/IEC 30107-3, from labelled pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from shared.faces import Liveness
from worker.evaluation.intervals import Rate
from worker.evaluation.labels import Presentation

UNNAMED: Final = "unnamed"
"""Species of attacks whose kind is not given in the table."""


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures of one kind: their outcomes, and the number of pictures that could not be judged."""

    name: str
    outcomes: Mapping[Literal["live", "spoof", "uncertain"], int]
    silent: int
    """Pictures without a single face or rejected by the model: non-responses in terms of the standard."""

    @property
    def judged(self) -> int:
        """Pictures with an outcome."""
        return sum(self.outcomes.values())

    @property
    def passed(self) -> Rate:
        """Share of the judged pictures that are live."""
        return Rate(self.outcomes["live"], self.judged)

    @property
    def refused(self) -> Rate:
        """Share of the judged pictures that are `spoof` or `uncertain`, because neither admits a person."""
        return Rate(self.judged - self.outcomes["live"], self.judged)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcomes of all pictures."""

    species: list[Group]
    """Attacks by kind; APCER is the share of a kind that passes."""
    live: Group
    """Bona fide presentations; BPCER is the share that is refused."""
    others: list[Group]
    """Pictures with other labels, which count in no rate."""

    @property
    def worst(self) -> Group | None:
        """The kind of attack that passes most often; the standard defines APCER as its rate, not as a mean."""
        judged = [group for group in self.species if group.judged]
        return max(judged, key=lambda group: group.passed.share) if judged else None


def verdict(shown: Sequence[Presentation], readings: Mapping[Path, Liveness]) -> Verdict:
    """Count the outcomes of each kind of presentation."""

    def group(name: str, members: Sequence[Presentation]) -> Group:
        outcomes = [readings[each.picture].outcome for each in members if each.picture in readings]
        counts = {kind: outcomes.count(kind) for kind in ("live", "spoof", "uncertain")}
        return Group(name, counts, silent=len(members) - len(outcomes))  # type: ignore[arg-type]

    kinds: dict[tuple[str, str], list[Presentation]] = {}
    for each in shown:
        label = each.label if each.label in {"live", "spoof"} else "other"
        name = {"live": "live", "spoof": each.attack or UNNAMED}.get(label, each.label)
        kinds.setdefault((label, name), []).append(each)

    def groups(label: str) -> list[Group]:
        return [group(name, members) for (kind, name), members in sorted(kinds.items()) if kind == label]

    return Verdict(species=groups("spoof"), live=(groups("live") or [group("live", [])])[0], others=groups("other"))
