"""The JSON form of a job."""

import pytest

from shared.job_content import rfc3339


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, None),
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000.1234, "2023-11-14T22:13:20.123Z"),
        (-5.0, "1970-01-01T00:00:00.000Z"),
        (3.6e12 + 1.7e9, "9999-12-31T23:59:59.000Z"),
        (float("inf"), "9999-12-31T23:59:59.000Z"),
    ],
)
def test_any_stored_time_can_be_formatted(seconds: float | None, text: str | None) -> None:
    assert rfc3339(seconds) == text
