"""The effective match threshold and its estimated false-match rates."""

from dataclasses import dataclass

from shared.errors import ErrorCode, JobError
from shared.operations import VerifyParams
from shared.results import FmrBounds, PopulationRate, ThresholdFrom
from worker.engine.base import EngineInfo
from worker.packs.calibration import Calibration, Population

HIGHER_ELSEWHERE = (
    "These rates were measured between different people in the listed sources. Relatives, look-alikes and people of "
    "the same origin, sex and age at the same camera match more often: plan with the highest rate that fits your users."
)
NO_GROUP = "No such group was measured for this model pack."
NOT_MEASURED = "The recognisability of these faces was not measured."


@dataclass(frozen=True, slots=True)
class Limit:
    """The cosine that a match must exceed, and the rule that set it."""

    threshold: float
    given_by: ThresholdFrom


def match_limit(params: VerifyParams, info: EngineInfo, *, setting: float | None) -> Limit:
    """Return the effective limit: from the job's false-match rate, its threshold, the operator's setting, or the pack.

    Raises:
        JobError: `calibration_unavailable` if the job specifies a rate and none was measured for this contract;
            `fmr_out_of_range` if the rate is outside the measured range.
    """
    if params.fmr is not None:
        if info.calibration is None:
            raise JobError(
                ErrorCode.CALIBRATION_UNAVAILABLE,
                f"The model pack {info.pack} has no false-match rates measured for {info.contract}.",
            )
        return Limit(info.calibration.threshold_for(params.fmr), "fmr")
    rules: tuple[tuple[float | None, ThresholdFrom], ...] = ((params.threshold, "request"), (setting, "setting"))
    threshold, given_by = next(
        ((value, rule) for value, rule in rules if value is not None), (info.thresholds.match, "pack")
    )
    return Limit(threshold, given_by)


def bounds(threshold: float, calibration: Calibration, *, measured: bool) -> FmrBounds:
    """Return the rate of each population at this threshold, and the range over all of them.

    `measured` states whether both faces were measured as recognisable; the rates apply to such faces.
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
