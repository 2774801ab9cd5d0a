"""A table of false-match rates gives thresholds within its range and none outside it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.errors import ErrorCode, JobError
from worker.packs import manifests
from worker.packs.calibration import Calibration, Point

TABLE = Calibration(
    contract="c",
    source="made up",
    impostor_pairs=3_000_000,
    points=(Point(1e-3, 0.3), Point(1e-4, 0.4), Point(1e-5, 0.6)),
)


GROUP = {
    "name": "group",
    "description": "people of one group",
    "source": "made up",
    "impostor_pairs": 3_000,
    "points": [{"fmr": 0.1, "threshold": 0.3}, {"fmr": 0.01, "threshold": 0.5}],
}


@pytest.mark.parametrize(("fmr", "threshold"), [(1e-3, 0.3), (1e-4, 0.4), (1e-5, 0.6), (10**-3.5, 0.35)])
def test_thresholds_are_interpolated_in_the_logarithm_of_the_rate(fmr: float, threshold: float) -> None:
    assert TABLE.threshold_for(fmr) == threshold
    assert TABLE.fmr_at(threshold) == pytest.approx(fmr, rel=1e-3)


@pytest.mark.parametrize("fmr", [1.01e-3, 9.9e-6, 0.5, 1e-12])
def test_a_rate_outside_the_measured_range_is_refused(fmr: float) -> None:
    with pytest.raises(JobError, match=r"from 0\.001 down to 1e-05") as error:
        TABLE.threshold_for(fmr)
    assert error.value.code == ErrorCode.FMR_OUT_OF_RANGE


@pytest.mark.parametrize("threshold", [-1, 0.2999, 0.6001, 1])
def test_the_rate_of_a_threshold_outside_of_the_table_is_not_known(threshold: float) -> None:
    assert TABLE.fmr_at(threshold) is None


@pytest.mark.parametrize(
    ("fmr", "nearest"), [(0.5, r"0\.001, at a threshold of 0\.3"), (1e-6, r"1e-05, at a threshold of 0\.6")]
)
def test_a_refusal_names_the_nearest_rate(fmr: float, nearest: str) -> None:
    with pytest.raises(JobError, match=nearest):
        TABLE.threshold_for(fmr)


@pytest.mark.parametrize(
    ("threshold", "bound"), [(0.2, (1e-3, "at_least")), (0.4, (1e-4, "estimate")), (0.7, (1e-5, "at_most"))]
)
def test_a_population_bounds_every_threshold(threshold: float, bound: tuple[float, str]) -> None:
    assert TABLE.general.bound_at(threshold) == bound


@given(st.floats(1e-5, 1e-3), st.floats(1e-5, 1e-3))
def test_a_smaller_rate_never_has_a_lower_threshold(one: float, two: float) -> None:
    assert TABLE.threshold_for(min(one, two)) >= TABLE.threshold_for(max(one, two))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"points": [{"fmr": 1e-3, "threshold": 0.3}]}, "at least 2"),
        ({"points": [{"fmr": 1e-4, "threshold": 0.4}, {"fmr": 1e-3, "threshold": 0.3}]}, "order of decreasing fmr"),
        ({"points": [{"fmr": 1e-3, "threshold": 0.4}, {"fmr": 1e-4, "threshold": 0.4}]}, "increasing threshold"),
        ({"points": [{"fmr": 0, "threshold": 0.3}, {"fmr": 1e-4, "threshold": 0.4}]}, "greater than 0"),
        ({"impostor_pairs": 299_999}, "do not support an fmr below 0.0001"),
        ({"source": ""}, "at least 1 character"),
        ({"surprise": 1}, "surprise"),
        (
            {"points": [{"fmr": 1e-3, "threshold": 0.3, "impostor_pairs": 29_999}, {"fmr": 1e-4, "threshold": 0.4}]},
            "29999",
        ),
        ({"populations": [{**GROUP, "name": "general"}]}, "unique names"),
        ({"populations": [GROUP, GROUP]}, "unique names"),
        ({"populations": [{**GROUP, "impostor_pairs": 299}]}, "do not support an fmr below 0.1"),
    ],
)
def test_a_table_that_contradicts_itself_or_claims_too_much_is_refused(change: dict[str, Any], complaint: str) -> None:
    table = {
        "contract": "c",
        "source": "made up",
        "impostor_pairs": 300_000,
        "points": [{"fmr": 1e-3, "threshold": 0.3}, {"fmr": 1e-4, "threshold": 0.4}],
        "populations": [GROUP],
    }
    TypeAdapter(Calibration).validate_python(table)
    with pytest.raises(ValidationError, match=complaint):
        TypeAdapter(Calibration).validate_python({**table, **change})


def test_the_compact_packs_own_match_limit_is_on_its_table() -> None:
    compact = manifests.read(manifests.catalog()["compact"])
    assert compact.calibration is not None
    assert compact.calibration.threshold_for(1e-2) == 0.251
    assert compact.calibration.threshold_for(1e-4) == 0.412
    assert compact.calibration.fmr_at(compact.thresholds.match) == pytest.approx(6.9e-4, rel=0.01)


def test_the_compact_pack_reports_a_group_with_a_far_higher_rate() -> None:
    compact = manifests.read(manifests.catalog()["compact"])
    assert compact.calibration is not None
    [group] = compact.calibration.populations
    assert group.people == 15
    assert [group.bound_at(threshold).fmr for threshold in (0.35, 0.412, 0.476)] == [0.09, 0.033, 0.004]
    general = compact.calibration.fmr_at(compact.thresholds.match)
    assert general is not None
    assert group.bound_at(compact.thresholds.match).fmr > 100 * general
