"""Real faults of a real stack fire every alert; a receiver behind Alertmanager hears of each, and of its end."""

import os
from collections.abc import Iterator

import pytest

from tests.watching.binaries import binary
from tests.watching.deployed import alerts
from tests.watching.faults import FAULTS, Fault, fire
from tests.watching.live import Live
from tests.watching.local import live

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1800),
    pytest.mark.skipif("WATCHING_LIVE" not in os.environ, reason="takes minutes: `make watching` runs it"),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    binary("prometheus")
    binary("prometheus-alertmanager", "alertmanager")
    with live(tmp_path_factory.mktemp("live")) as stack:
        yield stack


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_fires_its_alerts(stack: Live, fault: Fault) -> None:
    fire(stack, fault)


def test_every_alert_is_resolved_when_its_fault_is_over(stack: Live) -> None:
    stack.wait_ready()
    stack.wait_resolved([rule["alert"] for rule in alerts()])
