"""Every query of the dashboard, of the autoscaler and of the alert rules has data from the start of an idle stack."""

import math
from collections.abc import Iterator
from typing import Final

import pytest

from tests.architecture.manifests import one
from tests.integration.watched_stack import soon, watched
from tests.watching.binaries import binary
from tests.watching.deployed import panels, selectors
from tests.watching.prometheus import Prometheus, scraping

pytestmark = pytest.mark.integration

SHOWN: Final = [
    pytest.param(target["expr"], id=f"{panel['title']}-{target['refId']}")
    for panel in panels()
    for target in panel["targets"]
]
SCALING: Final = [
    pytest.param(trigger["metadata"]["query"], id=f"{overlay}-{trigger['name']}")
    for overlay in ("cpu", "gpu")
    for trigger in one(overlay, "ScaledObject", "worker")["spec"]["triggers"]
]


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus over a stack that was never given a job."""
    binary("prometheus")
    folder = tmp_path_factory.mktemp("idle")
    with watched(folder / "stack") as running, scraping(folder / "prometheus", running) as prometheus:
        yield prometheus


@pytest.mark.parametrize("query", [*SHOWN, *SCALING])
def test_a_query_has_numbers_while_nothing_happens(idle: Prometheus, query: str) -> None:
    values = soon(lambda: idle.query(query))
    assert [labels for labels, value in values.items() if math.isnan(value)] == []


@pytest.mark.parametrize("selector", selectors())
def test_the_series_of_an_alert_exist_before_their_first_event(idle: Prometheus, selector: str) -> None:
    assert soon(lambda: idle.query(selector))


def test_no_alert_fires_while_nothing_happens(idle: Prometheus) -> None:
    assert idle.firing() == set()
