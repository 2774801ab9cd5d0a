"""The match threshold in force, and what it costs in false matches among which people."""

from dataclasses import dataclass

from shared.errors import ErrorCode, JobError
from shared.operations import VerifyParams
from shared.results import FmrBounds, PopulationRate, ThresholdFrom
from worker.engine.base import EngineInfo
from worker.packs.calibration import Calibration, Population

HIGHER_ELSEWHERE = (
    "Rates of different people in the pictures named as sources. Relatives, look-alikes and people of one origin, sex "
    "and age before one camera match each other more often: plan with the highest rate that fits your users."
)
NO_GROUP = "No such group was measured for this model pack."
NOT_MEASURED = "Whether these faces can be recognised was not measured."


@dataclass(frozen=True, slots=True)
class Limit:
    """What the cosine of a match must be above, and which rule gave it."""

    threshold: float
    given_by: ThresholdFrom


def match_limit(params: VerifyParams, info: EngineInfo, *, setting: float | None) -> Limit:
    """The limit in force: the job's own, that of its false-match rate, the operator's, or the pack's.

    Raises:
        JobError: `calibration_unavailable` where the job names a rate and none was measured for this contract;
            `fmr_out_of_range` where it is outside of those that were.
    """
    if params.fmr is not None:
        if info.calibration is None:
            raise JobError(
                ErrorCode.CALIBRATION_UNAVAILABLE,
                f"The model pack {info.pack} has no false-match rates that were measured for {info.contract}.",
            )
        return Limit(info.calibration.threshold_for(params.fmr), "fmr")
    rules: tuple[tuple[float | None, ThresholdFrom], ...] = ((params.threshold, "request"), (setting, "setting"))
    threshold, given_by = next(
        ((value, rule) for value, rule in rules if value is not None), (info.thresholds.match, "pack")
    )
    return Limit(threshold, given_by)


def bounds(threshold: float, calibration: Calibration, *, measured: bool) -> FmrBounds:
    """The rate of each population at this threshold, with the range over all of them.

    `measured` says whether the pack has a measure that found both faces recognisable: the rates hold for such faces.
    """
    rates = [_rate(population, threshold) for population in (calibration.general, *calibration.populations)]
    notes = [HIGHER_ELSEWHERE, *([] if calibration.populations else [NO_GROUP]), *([] if measured else [NOT_MEASURED])]
    return FmrBounds(
        lowest=None if any(rate.bound == "at_most" for rate in rates) else min(rate.fmr for rate in rates),
        highest=None if any(rate.bound == "at_least" for rate in rates) else max(rate.fmr for rate in rates),
        note=" ".join(notes),
        populations=rates,
    )


def _rate(population: Population, threshold: float) -> PopulationRate:
    bound = population.bound_at(threshold)
    return PopulationRate(
        population=population.name,
        description=population.description,
        source=population.source,
        people=population.people,
        impostor_pairs=population.impostor_pairs,
        fmr=bound.fmr,
        bound=bound.kind,
    )
