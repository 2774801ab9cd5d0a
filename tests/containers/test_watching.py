"""The deployment's own Prometheus over the containers: it finds each, and real faults fire every alert."""

import os
from collections.abc import Iterator
from functools import partial

import pytest

from tests.containers.compose import ComposeStack
from tests.containers.watched import ComposeLive, live
from tests.integration.watched_stack import soon
from tests.watching.deployed import alerts, panels, selectors
from tests.watching.faults import FAULTS, Fault, fire
from tests.watching.live import WITHIN

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1200),
    pytest.mark.skipif("CONTAINERS_WATCHING" not in os.environ, reason="run `make containers WATCHING=1`"),
]


@pytest.fixture(scope="module")
def watched(stack: ComposeStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeLive]:
    with live(stack, tmp_path_factory.mktemp("watched")) as watched:
        yield watched


@pytest.mark.parametrize("workers", [3, 1])
def test_prometheus_finds_every_container(watched: ComposeLive, workers: int) -> None:
    watched.scale(workers)
    soon(lambda: watched.prometheus().targets_up() == 2 + workers, within=WITHIN)


def test_every_query_and_every_series_of_an_alert_has_data(watched: ComposeLive) -> None:
    prometheus = watched.prometheus()
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    for query in [*queries, *selectors()]:
        soon(partial(prometheus.query, query), within=WITHIN)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_fires_its_alerts(watched: ComposeLive, fault: Fault) -> None:
    fire(watched, fault)


def test_every_alert_is_resolved_when_its_fault_is_over(watched: ComposeLive) -> None:
    watched.wait_ready()
    watched.wait_resolved([rule["alert"] for rule in alerts()])
