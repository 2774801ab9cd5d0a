"""Applies to every test: no proxy between us and this machine, no property test judged by the clock, plain logs."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.forking.client import Launcher
from tests.proxies import LOOPBACK_NAMES
from tests.store import LiveStore, serving
from tools.service import Service

for name in ("NO_PROXY", "no_proxy"):
    os.environ[name] = ",".join(filter(None, (os.environ.get(name), *LOOPBACK_NAMES)))

# A deadline and the check for slow generation measure how busy the machine is.
settings.register_profile("vultus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vultus")

# structlog's default renders each local variable of each frame of a traceback, which takes seconds for an application.
structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])


LONGEST: Final = (
    "test_bench.py",
    "test_worker_faults.py",
    "test_store_faults.py",
    "test_storms.py",
    "test_soak.py",
    "test_openapi_holds.py",
    "test_faults.py",
    "test_poison.py",
    "test_sentinel.py",
    "test_liveness_page.py",
    "test_evaluation.py",
)
"""Files that take a minute or more, longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest files, so that no process finishes long after the others."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def pytest_collection_finish() -> None:
    """Exempt modules and tests from garbage collection: walking through them took a twentieth of the quick tests."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _fork_services() -> Iterator[None]:
    """Start services without their seconds of imports; with FORK=no they start as in production."""
    if os.environ.get("FORK") == "no":
        yield
        return
    launcher = Launcher()
    Service.launch = launcher.launch
    yield
    launcher.stop()


@pytest.fixture(scope="session")
def valkey_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of this process's own Valkey server, which starts with the first test that asks for it."""
    with serving(tmp_path_factory.mktemp("v")) as socket:
        yield socket


@pytest.fixture
def store(valkey_socket: Path) -> Iterator[LiveStore]:
    """The server, empty."""
    store = LiveStore(valkey_socket)
    yield store
    store.close()
