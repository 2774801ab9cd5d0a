"""Authentication may be off only on the loopback address, unless it is explicitly allowed elsewhere."""

from typing import Any

import pytest

from api.settings.api import ApiSettings
from api.settings.auth import check_auth
from shared.errors import SettingsError
from shared.settings import load

EVERYWHERE = "0.0.0.0"  # noqa: S104 - never listened on
ISSUER: dict[str, Any] = {
    "auth": "jwt",
    "jwt_issuer": "https://id.example",
    "jwt_audience": "vultus",
    "jwt_jwks": "https://id.example/jwks",
}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_auth_may_be_off_on_the_loopback_address(host: str) -> None:
    check_auth(ApiSettings(), host=host)


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "10.1.2.3", "gateway", "", "192.0.2.1"])
def test_auth_must_not_be_off_on_other_addresses(host: str) -> None:
    with pytest.raises(SettingsError, match="VULTUS_AUTH is off"):
        check_auth(ApiSettings(), host=host)


def test_auth_open_allows_other_addresses() -> None:
    check_auth(ApiSettings(auth_open=True), host=EVERYWHERE)
    check_auth(ApiSettings(auth="keys"), host=EVERYWHERE)


@pytest.mark.parametrize("missing", ["jwt_issuer", "jwt_audience", "jwt_jwks"])
def test_tokens_need_an_issuer_an_audience_and_keys(missing: str) -> None:
    with pytest.raises(SettingsError, match=f"needs VULTUS_{missing.upper()}"):
        check_auth(ApiSettings(**{**ISSUER, missing: ""}), host="127.0.0.1")


@pytest.mark.parametrize("jwks", ["http://id.example/jwks", "https://user@id.example/jwks", "ftp://id.example"])
def test_an_untrusted_jwks_url_is_refused(jwks: str) -> None:
    with pytest.raises(SettingsError, match="VULTUS_JWT_JWKS"):
        check_auth(ApiSettings(**{**ISSUER, "jwt_jwks": jwks}), host="127.0.0.1")


def test_a_jwks_may_be_a_url_or_a_file() -> None:
    check_auth(ApiSettings(**ISSUER), host=EVERYWHERE)
    check_auth(ApiSettings(**{**ISSUER, "jwt_jwks": "/etc/vultus/jwks.json"}), host=EVERYWHERE)


@pytest.mark.parametrize("named", ["none", "HS256", "RS256,HS256", ""])
def test_symmetric_and_missing_signature_algorithms_are_refused(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_JWT_ALGORITHMS", named or " ")
    with pytest.raises(SettingsError, match="VULTUS_JWT_ALGORITHMS"):
        load(ApiSettings)


def test_several_signature_algorithms_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_JWT_ALGORITHMS", "RS256, EdDSA")
    assert load(ApiSettings).jwt_algorithms == ("RS256", "EdDSA")
