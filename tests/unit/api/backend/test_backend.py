"""Start: a gateway that cannot keep its promises refuses to start and says why in one line."""

from datetime import timedelta
from typing import Any

import pytest

from api import app
from api.backend import backend
from api.settings.api import ApiSettings
from shared.errors import ErrorCode, SettingsError, UnavailableError

AWAY = UnavailableError(ErrorCode.STORE_UNAVAILABLE, "Away.")


class Client:
    """As much of the driver as starting needs."""

    closed = False

    def evalsha(self, _digest: str, _keys: int, _key: str, shards: int) -> bytes:
        """The layout of an empty ledger: that of the caller."""
        return str(shards).encode()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr(backend, "connect", lambda _: client)
    monkeypatch.setattr(backend, "PAUSE", timedelta(seconds=0.01))
    return client


def answers(monkeypatch: pytest.MonkeyPatch, *said: Exception | None) -> list[str]:
    left, asked = list(said), []

    def verify(_: Any, promised: str) -> None:
        asked.append(promised)
        error = left.pop(0)
        if error is not None:
            raise error

    monkeypatch.setattr(backend, "verify_durability", verify)
    return asked


def test_a_starting_ledger_is_waited_for(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    asked = answers(monkeypatch, AWAY, AWAY, None)
    backend.verify_ledger(ApiSettings(durability="everysec"))
    assert asked == ["everysec"] * 3
    assert client.closed


def test_an_unavailable_ledger_fails_the_start_with_one_line(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    answers(monkeypatch, *[AWAY] * 100)
    with pytest.raises(SettingsError, match=r"^The ledger at VULTUS_LEDGER_URL did not respond within 0\.05 s$"):
        backend.verify_ledger(ApiSettings(), patience=timedelta(seconds=0.05))
    assert client.closed


def test_a_less_durable_ledger_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    asked = answers(monkeypatch, SettingsError("it would lose jobs"))
    with pytest.raises(SettingsError, match="it would lose jobs"):
        backend.verify_ledger(ApiSettings())
    assert len(asked) == 1
    assert client.closed


def test_an_invalid_setting_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VULTUS_PORT", "eighty")
    with pytest.raises(SystemExit) as caught:
        app.main()
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("vultus-api: VULTUS_PORT is wrong")
    assert said.count("\n") == 1
