"""The figures of storms: of one, of several together, and the table that a person reads."""

import json
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self, cast

import redis

from shared.ledger import keys
from tests.chaos.blows import Blow
from tests.chaos.census import Usage
from tests.chaos.oracle import BROKEN_OFF, DOUBLED, Account, Snapshot

if TYPE_CHECKING:
    from tests.chaos.storm import Plan

SUBJECT: Final = re.compile(r"(?:job|batch)_[0-9a-f]+")
JUMP: Final = 1800.0
"""Seconds; nothing takes that long in a storm, except for a clock that jumps."""
HEAD: Final = ("fault", "times", "jobs touched", "lost", "doubled", "whole again after s (median, most)")


@dataclass(slots=True)
class Row:
    """One kind of fault."""

    times: int = 0
    touched: int = 0
    """Jobs that were accepted before the service was whole again, and finished after the fault began."""
    lost: int = 0
    doubled: int = 0
    recoveries: list[float] = field(default_factory=list)
    """Seconds from the end of the cause until the service was whole at every gateway; only if the fault came alone."""

    def add(self, other: "Row") -> None:
        """Add the figures of another row."""
        self.times += other.times
        self.touched += other.touched
        self.lost += other.lost
        self.doubled += other.doubled
        self.recoveries += other.recoveries


@dataclass(slots=True)
class Report:
    """The figures of one storm, or of several."""

    seeds: list[int]
    rows: dict[str, Row]
    seconds: float
    asked: int
    accepted: int
    """Jobs, including the items of batches."""
    ends: dict[str, int]
    starts: dict[str, int]
    batches: int
    retried: int
    erased: int
    dead_letters: int
    longest: float
    calm: float
    after_lease: list[float]
    """Seconds from the end of a dead worker's lease until its job had left it."""
    after_hold: list[float]
    """Seconds beyond one hold, from when a dead courier began an attempt until the delivery had left it."""
    told: int
    repeats: int
    requests: int
    delays: list[float]
    """Median, 99th percentile and maximum of the seconds from a completion to its callback."""
    swallowed: int
    restarts: int
    usage: dict[str, list[float]]
    """By process: megabytes, threads and files before, then after."""
    findings: list[str]

    @classmethod
    def of(
        cls, plan: "Plan", blows: Sequence[Blow], accounts: Sequence[Account], found: Snapshot,
        findings: Sequence[str], *, seconds: float, calm: float, last: float,
        usage: tuple[Mapping[str, Usage], Mapping[str, Usage]], delays: Sequence[float], told: int, repeats: int,
        requests: int, lost_by_couriers: Sequence[float], after_lease: Sequence[float], swallowed: int, restarts: int,
    ) -> Self:  # fmt: skip
        """Compute it from the faults, the clients' records and the findings."""
        records = found.records
        batched = sum(record.in_batch for record in records.values())
        single = {job_id for account in accounts if not account.items for job_id in account.ids}
        before, after = usage
        late = sorted(delays)
        return cls(
            seeds=[plan.seed],
            rows=_rows(blows, found, findings, last=last),
            seconds=seconds,
            asked=sum(account.items or 1 for account in accounts),
            accepted=len(single) + batched + sum(len(account.retries) for account in accounts),
            ends=dict(Counter(record.status.value for record in records.values())),
            starts=dict(Counter(str(record.attempts) for record in records.values())),
            batches=len(found.groups),
            retried=sum(record.retry_of is not None for record in records.values()),
            erased=sum(account.erased_surely for account in accounts),
            dead_letters=sum(record.index_key.startswith("dead:") for record in records.values()),
            longest=max((record.ended - record.began for record in records.values()), default=0.0),
            calm=calm,
            after_lease=list(after_lease),
            after_hold=list(lost_by_couriers),
            told=told,
            repeats=repeats,
            requests=requests,
            delays=[late[len(late) // 2], late[len(late) * 99 // 100], late[-1]] if late else [],
            swallowed=swallowed,
            restarts=restarts,
            usage={name: [*_plain(before[name]), *_plain(after[name])] for name in before.keys() & after.keys()},
            findings=list(findings),
        )

    def and_found(self, more: Sequence[str]) -> "Report":
        """The same report with later findings added."""
        return replace(self, findings=[*self.findings, *more])

    @property
    def faults(self) -> int:
        """Number of faults."""
        return sum(row.times for row in self.rows.values())

    def written(self) -> str:
        """Serialize as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `written` returned."""
        raw: dict[str, Any] = json.loads(text)
        return cls(**{**raw, "rows": {name: Row(**row) for name, row in raw["rows"].items()}})


def together(reports: Sequence[Report]) -> Report:
    """Combine several storms."""
    rows: dict[str, Row] = {}
    for report in reports:
        for name, row in report.rows.items():
            rows.setdefault(name, Row()).add(row)

    def counted(of: Iterable[Mapping[str, int]]) -> dict[str, int]:
        return dict(sum(map(Counter, of), Counter[str]()))

    delays = [report.delays for report in reports if report.delays]
    return Report(
        seeds=[seed for report in reports for seed in report.seeds],
        rows=rows,
        seconds=sum(report.seconds for report in reports),
        asked=sum(report.asked for report in reports),
        accepted=sum(report.accepted for report in reports),
        ends=counted(report.ends for report in reports),
        starts=counted(report.starts for report in reports),
        batches=sum(report.batches for report in reports),
        retried=sum(report.retried for report in reports),
        erased=sum(report.erased for report in reports),
        dead_letters=sum(report.dead_letters for report in reports),
        longest=max(report.longest for report in reports),
        calm=max(report.calm for report in reports),
        after_lease=[spent for report in reports for spent in report.after_lease],
        after_hold=[spent for report in reports for spent in report.after_hold],
        told=sum(report.told for report in reports),
        repeats=sum(report.repeats for report in reports),
        requests=sum(report.requests for report in reports),
        delays=[max(column) for column in zip(*delays, strict=True)],
        swallowed=sum(report.swallowed for report in reports),
        restarts=sum(report.restarts for report in reports),
        usage=reports[-1].usage,
        findings=[finding for report in reports for finding in report.findings],
    )


def table(report: Report) -> list[str]:
    """The Markdown table, also readable in a terminal."""
    lines = [_line(HEAD), _line(["---"] * len(HEAD))]
    whole = Row()
    for name, row in sorted(report.rows.items()):
        lines.append(_line([name, row.times, row.touched, row.lost, row.doubled, spread(row.recoveries)]))
        whole.add(row)
    lost = sum(finding.startswith(BROKEN_OFF) for finding in report.findings)
    doubled = sum(finding.startswith(DOUBLED) for finding in report.findings)
    lines.append(_line(["**all**", whole.times, report.accepted, lost, doubled, spread(whole.recoveries)]))
    return lines


def summary(report: Report) -> list[str]:
    """The figures that are not in the table."""
    return [
        (
            f"- seeds {', '.join(map(str, report.seeds))}: {report.faults} faults in {report.seconds:.0f} s, "
            f"{report.restarts} processes started again; broken promises: {len(report.findings)}"
        ),
        (
            f"- jobs: {report.accepted} accepted of {report.asked} asked for, in them {report.batches} batches, "
            f"{report.retried} retries; {report.erased} erased; ends: {counts(report.ends)}; "
            f"jobs by starts: {counts(report.starts)}; dead letters {report.dead_letters}"
        ),
        (
            f"- jobs of dead workers taken back, s after the lease (median, most): {spread(report.after_lease)} "
            f"({len(report.after_lease)} jobs)"
        ),
        (
            f"- callbacks: {report.told} due, {report.requests} requests, {report.repeats} after they had been taken; "
            f"s from the end of a job to its callback (median, 99 of 100, most): "
            f"{', '.join(f'{delay:.2f}' for delay in report.delays)}"
        ),
        (
            f"- deliveries of dead couriers taken back, s beyond one hold (median, most): {spread(report.after_hold)} "
            f"({len(report.after_hold)} deliveries)"
        ),
        (
            f"- longest from acceptance to end {report.longest:.1f} s; calm at most {report.calm:.1f} s after the last "
            f"fault; {report.swallowed} answers of stores lost on the way"
        ),
        *(
            f"- {name}: {now[0]:.0f} MB, {now[1]:.0f} threads, {now[2]:.0f} files; before "
            f"{then[0]:.0f}, {then[1]:.0f}, {then[2]:.0f}"
            for name, (then, now) in sorted((name, (all_[:3], all_[3:])) for name, all_ in report.usage.items())
        ),
    ]


def spread(values: Sequence[float]) -> str:
    """Median and maximum."""
    return f"{statistics.median(values):.2f}, {max(values):.2f}" if values else "-"


def counts(counted: Mapping[str, int]) -> str:
    """Counts by name."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))


def told_late(ledger: redis.Redis, shards: int, *, hold: float) -> list[float]:
    """Seconds beyond one hold until another courier took a dead one's delivery, from the log of every delivery.

    Deliveries during which the ledger's clock was set are left out: they seem to have taken as long as the jump.
    """
    found = []
    for shard in range(shards):
        pattern = keys.attempts(shard, "*").replace("{", "\\{").replace("}", "\\}")
        for name in ledger.scan_iter(match=pattern, count=1000):
            attempts = map(json.loads, cast("list[bytes]", ledger.lrange(name, 0, -1)))
            found += [each["milliseconds"] / 1000 - hold for each in attempts if each.get("error") == "courier_lost"]
    return [spent for spent in found if spent < JUMP]


def _rows(blows: Sequence[Blow], found: Snapshot, findings: Sequence[str], *, last: float) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    lost, doubled = _subjects(findings, BROKEN_OFF), _subjects(findings, (DOUBLED,))
    for blow in blows:
        until = blow.recovered or blow.ended or last
        touched = {
            job_id for job_id, record in found.records.items() if record.began <= until and record.ended >= blow.began
        }
        row = rows.setdefault(blow.name, Row())
        row.times += 1
        row.touched += len(touched)
        row.lost += len(touched & lost)
        row.doubled += len(touched & doubled)
        if blow.recovered and blow.ended:
            row.recoveries.append(round(blow.recovered - blow.ended, 3))
    return rows


def _subjects(findings: Iterable[str], kinds: tuple[str, ...]) -> set[str]:
    return {name for finding in findings if finding.startswith(kinds) for name in SUBJECT.findall(finding)}


def after_lease(blows: Sequence[Blow], found: Snapshot) -> dict[str, float]:
    """For each job that a worker died with: seconds from the end of its lease until the dead worker had lost it.

    A lease may have ended before its worker died, while the ledger was down and nobody could renew it or take the job
    back; then the time counts from the death. Only for faults that came alone: among others, the store itself may have
    been down.
    """
    spent = {}
    for blow in blows:
        for job_id, until in blow.held.items() if blow.recovered else ():
            record = found.records.get(job_id)
            left = next((at for at in record.times if at > blow.died), None) if record else None
            if left is not None:
                spent[job_id] = round(left - max(until, blow.died), 3)
    return spent


def _plain(usage: Usage) -> list[float]:
    return [round(usage.megabytes, 1), usage.threads, usage.files]


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
