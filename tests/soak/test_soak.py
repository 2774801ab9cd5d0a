"""A short soak: nothing in the service grows under a steady load; `make soak` runs longer, at 80 % of the capacity."""

from typing import Final

from tests.integration.breaking import picture
from tests.soak.soak import Plan, soak
from tests.soak.trend import Limit

POOL: Final = Limit(share=0.0, beside=40)
"""The gateway's thread pool grows up to AnyIO's 40 with the bursts of a busy machine, and each of its threads has a
connection to the ledger. What grew with each of the hundreds of jobs would grow by more.
"""

SHORT: Final = Plan(
    seconds=40,
    settle=15,
    measure=3,
    ttl=8,
    engine={"VULTUS_ENGINE": "fake"},
    operation="detect",
    image=picture(),
    share=0.25,
    latencies=False,
    limits={"threads": POOL, "files": POOL, "clients": POOL},
)
"""The fake engine, because the service around the models is under test. A quarter of the capacity, and no judgment of
latencies: other tests use the same cores.
"""


def test_nothing_grows_under_a_steady_load() -> None:
    result = soak(SHORT)
    print("\n".join([*result.lines(), *result.findings]))  # noqa: T201 - shown if the test fails
    assert result.findings == []
    assert result.sent > SHORT.seconds, "too few jobs to see anything grow"
