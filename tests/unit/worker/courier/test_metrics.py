"""How answers of partners are named: few words, whatever they answer."""

import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from worker.courier.metrics import ERRORS, answer_of


@pytest.mark.parametrize(
    ("status", "error", "label"),
    [
        (204, None, "2xx"),
        (301, None, "3xx"),
        (410, None, "4xx"),
        (200, "broken_off", "2xx"),
        (None, "timeout", "timeout"),
    ],
)
def test_the_label_is_the_status_class_or_the_error(status: int | None, error: str | None, label: str) -> None:
    assert answer_of(status, error) == label


def test_the_courier_counts_from_zero() -> None:
    labels = ({"outcome": "delivered", "answer": "2xx"}, {"outcome": "retry", "answer": "timeout"})
    assert all(REGISTRY.get_sample_value("vultus_webhook_attempts_total", each) is not None for each in labels)
    assert REGISTRY.get_sample_value("vultus_webhook_endpoints_disabled_total", {"reason": "gone"}) is not None


def test_every_documented_error_of_an_attempt_is_counted_from_zero() -> None:
    text = (Path(__file__).parents[4] / "docs" / "api.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^`error` is (`timeout`.+?)\.\n", text, flags=re.MULTILINE | re.DOTALL)
    after_status, never_sent = {"broken_off"}, {"courier_lost", "endpoint_disabled", "endpoint_deleted", "webhooks_off"}
    assert set(re.findall(r"`(\w+)`", listed)) - after_status - never_sent == set(ERRORS)
