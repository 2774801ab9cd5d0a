"""A short soak: under a steady load nothing of the service grows; `make soak` does the same at 80 of 100 for long."""

from typing import Final

from tests.integration.breaking import picture
from tests.soak.soak import Plan, soak

SHORT: Final = Plan(
    seconds=50,
    settle=20,
    measure=4,
    ttl=8,
    engine={"VULTUS_ENGINE": "fake"},
    operation="detect",
    image=picture(),
    share=0.5,
    patience=4.0,
)
"""The fake engine: what is tried is the service around the models. Half of what can be done: others use the machine."""


def test_under_a_steady_load_nothing_grows() -> None:
    result = soak(SHORT)
    print("\n".join([*result.lines(), *result.findings]))  # noqa: T201 - shown where it fails
    assert result.findings == []
    assert result.sent > 5 * SHORT.seconds
