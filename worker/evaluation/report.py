"""Report the error rates as text, with intervals and with what the pictures cannot show."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from worker.evaluation.attacks import Group, Verdict
from worker.evaluation.comparisons import Comparisons, Odd
from worker.evaluation.groups import Within, worst
from worker.evaluation.intervals import pairs_needed
from worker.evaluation.rates import TARGETS, Scores

STEPS = [round(0.05 * step, 2) for step in range(21)]


def verification(comparisons: Comparisons, *, match: float) -> Iterator[str]:
    """Yield the rates over thresholds, the equal error rate, and a threshold for each rate that the pairs support."""
    scores = comparisons.scores
    yield (
        f"{len(scores.genuine)} pairs of the same person, {len(scores.impostor)} of different people. Rates with their "
        "95 % intervals (Wilson; rule of three if no error was observed). Pairs are treated as independent: if they "
        "share pictures, the true intervals are wider."
    )
    yield ""
    yield "threshold   false-match rate                        false-non-match rate"
    for threshold in sorted({*STEPS, match}):
        note = "  <- threshold of the pack" if threshold == match else ""
        yield f"{threshold:9.3f}   {scores.fmr(threshold)!s:<38}  {scores.fnmr(threshold)}{note}"
    rate, where = scores.equal
    yield ""
    yield f"Equal error rate: {rate:.2g} at {where:.4f}"
    yield ""
    yield from _recommended(scores)
    yield ""
    yield "The most similar pairs of different people and the least similar of one person (check for wrong labels):"
    yield from (_odd(odd, "different") for odd in comparisons.alike)
    yield from (_odd(odd, "same     ") for odd in comparisons.unlike)


def within_groups(groups: Sequence[Within], scores: Scores, *, match: float) -> Iterator[str]:
    """Yield the rates within each group, the worst group, and the thresholds that keep a rate in every group."""
    if not groups:
        return
    yield f"Pairs within one group at {match:g}, the threshold of the pack:"
    yield "group             people   false-match rate                        false-non-match rate"
    for group in groups:
        people = "?" if group.people is None else group.people
        yield f"{group.name:<16}  {people:>6}   {group.fmr(match)!s:<38}  {group.fnmr(match)}"
    bad = worst(groups, match)
    if bad is not None:
        yield (
            f"Worst: {bad.name}, with a false-match rate of {bad.fmr(match)}; over all pairs it is {scores.fmr(match)}."
        )
    yield ""
    yield "for a false-match rate of   threshold in every group"
    for target in TARGETS:
        needed = pairs_needed(target)
        few = [group.name for group in groups if len(group.impostors.similarities) < needed]
        if few:
            yield f"{target:>25g}   too few pairs (fewer than {needed:,}) in {', '.join(few)}"
        else:
            threshold, name = max((group.impostors.threshold_for(target), group.name) for group in groups)
            yield f"{target:>25g}   {threshold:9.4f}, set by {name}"
    yield ""


def _recommended(scores: Scores) -> Iterator[str]:
    yield "for a false-match rate of   threshold   measured at it                          false-non-match rate"
    for target in TARGETS:
        if len(scores.impostor) < (needed := pairs_needed(target)):
            yield (
                f"{target:>25g}   too few pairs: {needed:,} of different people are needed (30 false matches), "
                f"got {len(scores.impostor):,}"
            )
        else:
            threshold = scores.threshold_for(target)
            yield f"{target:>25g}   {threshold:9.4f}   {scores.fmr(threshold)!s:<38}  {scores.fnmr(threshold)}"


def _odd(odd: Odd, kind: str) -> str:
    return f"  {kind}  {odd.similarity:7.4f}  {odd.one}  {odd.two}"


def liveness(verdict: Verdict, *, live: float, spoof: float) -> Iterator[str]:
    """Yield APCER for each kind of attack, BPCER, and the pictures that could not be judged."""
    yield (
        f"Live: score of at least {live:g}; spoof: below {spoof:g}; uncertain: in between, counted as refused. Rates "
        "with 95 % intervals, over the pictures that could be judged."
    )
    yield ""
    yield "attack presentations (APCER: share that passes as live)"
    for group in verdict.species:
        yield _line(group, f"APCER {group.passed}" if group.judged else "APCER unknown")
    if verdict.worst is None:
        yield "  none: no statement about attacks is possible"
    else:
        yield f"  APCER, the worst of these kinds: {verdict.worst.passed} ({verdict.worst.name})"
    yield "live presentations (BPCER: share that is refused)"
    if verdict.live.judged:
        yield _line(verdict.live, f"BPCER {verdict.live.refused}")
    else:
        yield "  none: no statement about live people is possible"
    for group in verdict.others:
        yield f"other labels, not in any rate\n{_line(group, '')}"
    few = [group.name for group in [*verdict.species, verdict.live] if group.judged < pairs_needed(0.1)]
    if few:
        yield ""
        yield (
            f"Too few pictures to state a rate: {', '.join(few)}. A rate below 10 % needs 30 pictures of a kind "
            "without an error, a rate below 1 % needs 300 (rule of three)."
        )


def _line(group: Group, rate: str) -> str:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in group.outcomes.items())
    silent = f", {group.silent} not judged" if group.silent else ""
    return f"  {group.name:<12} {group.judged + group.silent} pictures: {outcomes}{silent}  {rate}".rstrip()


def refusals(refused: Mapping[Path, str]) -> Iterator[str]:
    """Yield the pictures that could not be read, each with the reason."""
    if refused:
        yield f"{len(refused)} pictures were skipped:"
        yield from (f"  {path}: {reason}" for path, reason in sorted(refused.items()))
        yield ""
