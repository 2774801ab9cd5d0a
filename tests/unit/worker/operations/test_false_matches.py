"""The range of false-match rates over populations holds what each population says, at every threshold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.operations.asking import TABLE
from worker.operations.false_matches import HIGHER_ELSEWHERE, NO_GROUP, NOT_MEASURED, bounds
from worker.packs import manifests
from worker.packs.calibration import Calibration

ALONE = Calibration(TABLE.contract, TABLE.source, TABLE.impostor_pairs, TABLE.points)
THRESHOLDS = st.floats(-1, 1)


@given(THRESHOLDS)
def test_the_estimate_lies_within_the_range(threshold: float) -> None:
    spread = bounds(threshold, TABLE, measured=True)
    estimate = TABLE.fmr_at(threshold)
    if estimate is not None:
        assert spread.lowest is None or spread.lowest <= estimate
        assert spread.highest is None or estimate <= spread.highest


@given(THRESHOLDS, THRESHOLDS)
def test_a_stricter_threshold_never_raises_a_bound(one: float, two: float) -> None:
    loose, strict = (bounds(threshold, TABLE, measured=True) for threshold in sorted((one, two)))
    for before, after in zip(loose.populations, strict.populations, strict=True):
        assert after.fmr <= before.fmr
    if loose.highest is not None:
        assert strict.highest is not None
        assert strict.highest <= loose.highest


@pytest.mark.parametrize("measured", [True, False])
def test_the_note_says_what_was_not_measured(*, measured: bool) -> None:
    note = bounds(0.4, ALONE, measured=measured).note
    assert HIGHER_ELSEWHERE in note
    assert NO_GROUP in note
    assert (NOT_MEASURED in note) is not measured
    assert NO_GROUP not in bounds(0.4, TABLE, measured=measured).note


def test_the_compact_pack_says_its_match_limit_may_cost_nine_in_a_hundred() -> None:
    compact = manifests.read(manifests.catalog()["compact"])
    assert compact.calibration is not None
    spread = bounds(compact.thresholds.match, compact.calibration, measured=True)
    assert spread.lowest == pytest.approx(6.9e-4, rel=0.01)
    assert spread.highest == 0.09
