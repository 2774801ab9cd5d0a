"""The stand-ins take what the real ones take, and the counting stores are the real ones."""

import inspect

import pytest

from shared.dispatch import Doorbell
from shared.errors import UnavailableError
from shared.ledger.jobs.store import Ledger
from shared.ledger.presence import Presence
from shared.ledger.tenants.api_keys import ApiKeys
from tests.doubles import MemoryPresence, RecordingDoorbell
from tests.store import CountingApiKeys, CountingLedger, LiveStore


@pytest.mark.parametrize(
    ("double", "real"),
    [
        (CountingLedger, Ledger),
        (CountingApiKeys, ApiKeys),
        (MemoryPresence, Presence),
        (RecordingDoorbell, Doorbell),
    ],
)
def test_a_double_takes_what_the_real_one_takes(double: type, real: type) -> None:
    for name, method in inspect.getmembers(double, inspect.isfunction):
        if not name.startswith("_") and hasattr(real, name):
            assert inspect.signature(method) == inspect.signature(getattr(real, name)), name


def test_a_store_that_is_away_is_reached_again(store: LiveStore) -> None:
    ledger = store.ledger()
    store.away = True
    with pytest.raises(UnavailableError):
        ledger.depth()
    store.away = False
    assert ledger.depth() == (0, 0)
