"""The limits of single operations, as an operator writes them."""

from datetime import timedelta

import pytest

from shared.errors import SettingsError
from shared.operations import Operation
from shared.settings import load
from worker.settings import WorkerSettings


def test_operations_that_are_not_named_have_the_common_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_JOB_TIME_LIMIT", "30")
    monkeypatch.setenv("VULTUS_JOB_TIME_LIMITS", "verify=20, analyze=120.5")
    limits = load(WorkerSettings).time_limits
    assert limits[Operation.VERIFY] == timedelta(seconds=20)
    assert limits[Operation.ANALYZE] == timedelta(seconds=120.5)
    assert limits[Operation.DETECT] == timedelta(seconds=30)
    assert set(limits) == set(Operation)


@pytest.mark.parametrize("text", ["verfy=3", "verify", "verify=x", "verify=0", "verify=1,verify=2"])
def test_a_wrong_limit_is_one_line_that_names_the_setting(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_JOB_TIME_LIMITS", text)
    with pytest.raises(SettingsError, match="VULTUS_JOB_TIME_LIMITS") as wrong:
        load(WorkerSettings)
    assert "\n" not in str(wrong.value)


def test_an_operators_own_threshold_is_a_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(WorkerSettings).verify_threshold is None
    monkeypatch.setenv("VULTUS_VERIFY_THRESHOLD", "0.42")
    assert load(WorkerSettings).verify_threshold == 0.42
    monkeypatch.setenv("VULTUS_VERIFY_THRESHOLD", "1.5")
    with pytest.raises(SettingsError, match="VULTUS_VERIFY_THRESHOLD"):
        load(WorkerSettings)
