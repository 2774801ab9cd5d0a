"""Whether a worker is ready: models first, then the store, until it is told to stop."""

from types import SimpleNamespace

import pytest

from shared.observability.monitor import Readiness
from worker import runtime
from worker.execution.exclusive_gate import ExclusiveGate


def test_readiness_shows_loading_ready_a_lost_store_and_draining(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running: list[SimpleNamespace] = []
    monkeypatch.setattr(runtime, "_runtime", running)
    assert runtime.readiness() is Readiness.LOADING
    heartbeat, exclusive_gate = SimpleNamespace(unheard=False), ExclusiveGate()
    running.append(SimpleNamespace(heartbeat=heartbeat, exclusive_gate=exclusive_gate))
    assert runtime.readiness() is Readiness.READY
    heartbeat.unheard = True
    assert runtime.readiness() is Readiness.AWAY
    exclusive_gate.close()
    assert runtime.readiness() is Readiness.DRAINING
