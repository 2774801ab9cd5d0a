"""A short soak: nothing in the service grows under a steady load; `make soak` runs longer, at 80 % of the capacity."""

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
"""The fake engine: the service around the models is under test. Half of the capacity, because other processes run too.
"""


def test_nothing_grows_under_a_steady_load() -> None:
    result = soak(SHORT)
    print("\n".join([*result.lines(), *result.findings]))  # noqa: T201 - shown if the test fails
    assert result.findings == []
    assert result.sent > 2 * SHORT.seconds, "too few jobs to see anything grow"
