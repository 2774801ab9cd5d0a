"""A gateway is open on the loopback address alone, unless it is told so in as many words."""

from typing import Any

import pytest

from api.settings.api import ApiSettings
from api.settings.auth import check_auth
from shared.errors import SettingsError
from shared.settings import load

EVERYWHERE = "0.0.0.0"  # noqa: S104 - refused, or taken, as a text
ISSUER: dict[str, Any] = {
    "auth": "jwt",
    "jwt_issuer": "https://id.example",
    "jwt_audience": "vultus",
    "jwt_jwks": "https://id.example/jwks",
}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_open_is_taken_on_the_loopback_address(host: str) -> None:
    check_auth(ApiSettings(), host=host)


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "10.1.2.3", "gateway", "", "192.0.2.1"])
def test_open_is_refused_elsewhere(host: str) -> None:
    with pytest.raises(SettingsError, match="VULTUS_AUTH is off"):
        check_auth(ApiSettings(), host=host)


def test_open_elsewhere_has_to_be_said() -> None:
    check_auth(ApiSettings(auth_open=True), host=EVERYWHERE)
    check_auth(ApiSettings(auth="keys"), host=EVERYWHERE)


@pytest.mark.parametrize("missing", ["jwt_issuer", "jwt_audience", "jwt_jwks"])
def test_tokens_need_an_issuer_an_audience_and_keys(missing: str) -> None:
    with pytest.raises(SettingsError, match=f"needs VULTUS_{missing.upper()}"):
        check_auth(ApiSettings(**{**ISSUER, missing: ""}), host="127.0.0.1")


@pytest.mark.parametrize("jwks", ["http://id.example/jwks", "https://user@id.example/jwks", "ftp://id.example"])
def test_an_address_of_keys_that_cannot_be_trusted_is_refused(jwks: str) -> None:
    with pytest.raises(SettingsError, match="VULTUS_JWT_JWKS"):
        check_auth(ApiSettings(**{**ISSUER, "jwt_jwks": jwks}), host="127.0.0.1")


def test_keys_may_be_at_an_address_or_in_a_file() -> None:
    check_auth(ApiSettings(**ISSUER), host=EVERYWHERE)
    check_auth(ApiSettings(**{**ISSUER, "jwt_jwks": "/etc/vultus/jwks.json"}), host=EVERYWHERE)


@pytest.mark.parametrize("named", ["none", "HS256", "RS256,HS256", ""])
def test_signatures_that_need_a_shared_secret_or_none_are_refused(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_JWT_ALGORITHMS", named or " ")
    with pytest.raises(SettingsError, match="VULTUS_JWT_ALGORITHMS"):
        load(ApiSettings)


def test_several_signatures_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_JWT_ALGORITHMS", "RS256, EdDSA")
    assert load(ApiSettings).jwt_algorithms == ("RS256", "EdDSA")
