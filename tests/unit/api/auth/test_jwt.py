"""Tokens: accepted only with the issuer's signature and valid claims, through changes of the issuer's keys."""

import asyncio
import base64
import hmac
import json
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final, Self

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import algorithms

from api.auth.jwt import FLOOR, GOOD_FOR, Claims, Tokens, read_jwks
from api.settings.api import ApiSettings
from shared.errors import ErrorCode, FetchError, RequestError, UnavailableError
from shared.tenants import Scope

NOW: Final = 1_800_000_000.0
"""Seconds since the epoch by the clock that these tests make."""
SETTINGS = ApiSettings(auth="jwt", jwt_issuer="https://id.example", jwt_audience="vultus", jwt_jwks="jwks.json")
EC = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED = ed25519.Ed25519PrivateKey.generate()


def public(key: Any, kid: str, **more: str) -> dict[str, Any]:
    kinds: dict[type, Any] = {
        ec.EllipticCurvePrivateKey: algorithms.ECAlgorithm,
        rsa.RSAPrivateKey: algorithms.RSAAlgorithm,
        ed25519.Ed25519PrivateKey: algorithms.OKPAlgorithm,
    }
    kind = next(made for base, made in kinds.items() if isinstance(key, base))
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


def token(*, key: Any = EC, alg: str = "ES256", kid: str | None = "one", **claims: Any) -> str:
    said = {
        "iss": "https://id.example",
        "aud": "vultus",
        "sub": "user-1",
        "exp": NOW + 60,
        "tenant": "acme",
        "scope": "jobs:read jobs:write unknown",
        **claims,
    }
    content = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(content, key, algorithm=alg, headers={} if kid is None else {"kid": kid})


class MadeDatetime(datetime):
    """The clock of the library that checks tokens, standing still."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(NOW, tz)


@pytest.fixture(autouse=True)
def _made_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jwt.api_jwt.datetime", MadeDatetime)


class Issuer:
    """Keys that are read, as often as they are."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.now = 0.0
        self.reads = 0
        self.broken: Exception | None = None
        self.tokens = Tokens(SETTINGS, read=self.read, now=lambda: self.now)

    async def read(self) -> bytes:
        self.reads += 1
        if self.broken:
            raise self.broken
        return json.dumps({"keys": self.keys}).encode()

    def check(self, text: str) -> Claims:
        return asyncio.run(self.tokens.check(text))


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(public(EC, "one"), public(RSA, "two"), public(ED, "three"))


def refused(issuer: Issuer, text: str) -> None:
    with pytest.raises(RequestError) as error:
        issuer.check(text)
    assert error.value.code is ErrorCode.UNAUTHENTICATED


def test_a_token_yields_its_tenant_subject_and_known_scopes(issuer: Issuer) -> None:
    assert issuer.check(token()) == Claims("acme", "user-1", frozenset({Scope.JOBS_READ, Scope.JOBS_WRITE}))


@pytest.mark.parametrize(("key", "alg", "kid"), [(EC, "ES256", "one"), (RSA, "RS256", "two"), (ED, "EdDSA", "three")])
def test_every_accepted_signature_algorithm_is_verified(issuer: Issuer, key: Any, alg: str, kid: str) -> None:
    assert issuer.check(token(key=key, alg=alg, kid=kid)).tenant == "acme"


def test_scopes_may_be_a_list(issuer: Issuer) -> None:
    assert issuer.check(token(scope=["admin", 7])).scopes == {Scope.ADMIN}


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"aud": "another audience"},
        {"aud": None},
        {"iss": None},
        {"sub": None},
        {"exp": None},
        {"exp": NOW - 3600},
        {"nbf": NOW + 3600},
        {"tenant": None},
        {"tenant": "No Tenant"},
        {"tenant": ["acme"]},
        {"sub": "a b"},
        {"sub": "x" * 200},
    ],
)
def test_a_token_with_invalid_claims_is_refused(issuer: Issuer, claims: dict[str, Any]) -> None:
    refused(issuer, token(**claims))


def test_a_small_clock_difference_is_tolerated(issuer: Issuer) -> None:
    assert issuer.check(token(exp=NOW - 20)).tenant == "acme"
    refused(issuer, token(exp=NOW - 40))


def with_the_public_key_as_a_secret() -> str:
    """What a checker takes that lets the token choose its algorithm."""
    head, body, _ = token(key=RSA, alg="RS256", kid="two").split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"two"}').decode().rstrip("=")
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    mark = hmac.digest(pem, f"{head}.{body}".encode(), "sha256")
    return f"{head}.{body}.{base64.urlsafe_b64encode(mark).decode().rstrip('=')}"


def hostile() -> dict[str, Callable[[], str]]:
    return {
        "signed by another": lambda: token(key=OTHER),
        "without a signature": lambda: jwt.encode({"sub": "x"}, "", algorithm="none", headers={"kid": "one"}),
        "signed with the public key": with_the_public_key_as_a_secret,
        "of another algorithm than its key": lambda: token(key=RSA, alg="RS256", kid="one"),
        "of a key that nobody knows": lambda: token(kid="four"),
        "without the name of a key": lambda: token(kid=None),
        "cut off": lambda: token()[:-4],
        "no token": lambda: "a.b.c",
        "empty": lambda: "",
        "not of this alphabet": lambda: "ä.ö.ü",
    }


@pytest.mark.parametrize("make", hostile().values(), ids=hostile().keys())
def test_a_forged_token_is_refused(issuer: Issuer, make: Callable[[], str]) -> None:
    refused(issuer, make())


def test_a_single_key_needs_no_key_id() -> None:
    assert Issuer(public(EC, "one")).check(token(kid=None)).tenant == "acme"


def test_keys_are_read_once_for_many_tokens(issuer: Issuer) -> None:
    for _ in range(5):
        issuer.check(token())
    assert issuer.reads == 1


def test_a_new_key_is_found_but_unknown_key_ids_cause_no_traffic(issuer: Issuer) -> None:
    issuer.check(token())
    issuer.keys = [public(OTHER, "next")]
    refused(issuer, token(key=OTHER, kid="next"))
    issuer.now += FLOOR.total_seconds() + 1
    assert issuer.check(token(key=OTHER, kid="next")).tenant == "acme"
    for number in range(20):
        refused(issuer, token(key=OTHER, kid=f"stranger-{number}"))
    assert issuer.reads == 2


def test_a_withdrawn_key_is_dropped(issuer: Issuer) -> None:
    issuer.check(token())
    issuer.keys = [public(OTHER, "next")]
    issuer.now += GOOD_FOR.total_seconds() + 1
    refused(issuer, token())


@pytest.mark.parametrize(
    "error", [OSError(), FetchError(ErrorCode.IMAGE_UNREACHABLE, "It is away.", retryable=True), ValueError()]
)
def test_an_unavailable_issuer_is_not_the_callers_fault(error: Exception) -> None:
    issuer = Issuer()
    issuer.broken = error
    with pytest.raises(UnavailableError) as refused:
        issuer.check(token())
    assert refused.value.code is ErrorCode.AUTH_UNAVAILABLE
    assert refused.value.retry_after == FLOOR


def test_keys_stay_valid_while_the_issuer_is_unavailable(issuer: Issuer) -> None:
    issuer.check(token())
    issuer.broken = OSError()
    issuer.now += GOOD_FOR.total_seconds() + 1
    assert issuer.check(token()).tenant == "acme"


def test_keys_that_do_not_sign_are_ignored() -> None:
    listed = [
        public(EC, "one"),
        public(OTHER, "enc", use="enc"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {"kty": "EC", "crv": "P-999", "kid": "odd"},
        "no key",
    ]
    assert list(read_jwks(json.dumps({"keys": listed}).encode())) == ["one"]


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"keys": 7}', b"\xff"])
def test_an_invalid_jwks_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_jwks(raw)


def test_the_leeway_is_the_setting() -> None:
    assert SETTINGS.jwt_leeway == timedelta(seconds=30)
