"""How answers of partners are named: few words, whatever they answer."""

import pytest

from worker.courier.metrics import answer_of


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
