"""A short soak: nothing in the service grows under a steady load; `make soak` runs longer, at 80 % of the capacity."""

from typing import Final

from tests.integration.breaking import picture
from tests.soak.load import CLIENTS
from tests.soak.soak import Plan, soak
from tests.soak.trend import Limit

POOL: Final = Limit(share=0.0, beside=40)
"""On a busy machine, bursts let the gateway's thread pool grow, up to AnyIO's 40 threads, each of which keeps a
connection to the ledger. Whatever leaked with each of the hundreds of jobs would exceed that.
"""
POOL_AND_CLIENTS: Final = Limit(share=0.0, beside=POOL.beside + CLIENTS)
"""The gateway has the other end of these connections open, and one of each client."""

SHORT: Final = Plan(
    seconds=40,
    settle=15,
    ttl=8,
    engine={"VULTUS_ENGINE": "fake"},
    operation="detect",
    image=picture(),
    rate=5,
    latencies=False,
    limits={
        ("gateway", "threads"): POOL,
        ("gateway", "files"): POOL_AND_CLIENTS,
        ("ledger", "clients"): POOL,
        ("ledger", "files"): POOL,
    },
)
"""The fake engine, because the service around the models is under test. Other tests use the same cores: hence a rate
that even a busy machine can do, and no judgment of latencies.
"""


def test_nothing_grows_under_a_steady_load() -> None:
    result = soak(SHORT)
    print("\n".join([*result.lines(), *result.findings]))  # noqa: T201 - shown if the test fails
    assert result.findings == []
    assert result.sent > SHORT.seconds, "too few jobs to see anything grow"
