"""Signatures: the specification's own example, its own library, and what must not pass."""

import base64
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from shared.webhooks.signing import new_secret, read_secret, secret_of_tenant, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - the published one
BODY = b'{"test": 2432232314}'
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"


def now() -> int:
    return int(datetime.now(tz=UTC).timestamp())


def headers(signature: str, *, event: str = ID, at: int | None = None) -> dict[str, str]:
    stamp = str(now() if at is None else at)
    return {"webhook-id": event, "webhook-timestamp": stamp, "webhook-signature": signature}


def test_the_published_example_has_the_published_signature() -> None:
    assert sign(ID, 1614265330, BODY, [SECRET]) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(min_size=24, max_size=64), st.text(min_size=1))
def test_the_specifications_library_verifies_what_we_sign(key: bytes, text: str) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    body = b'{"said": ' + base64.b64encode(text.encode("utf-8", "replace")).join([b'"', b'"}'])
    at = now()
    Webhook(secret).verify(body, headers(sign("evt_1", at, body, [secret]), event="evt_1", at=at))


def test_during_a_rotation_either_secret_verifies() -> None:
    old, new, other = new_secret(), new_secret(), new_secret()
    at = now()
    signature = sign(ID, at, BODY, [new, old])
    assert len(signature.split(" ")) == 2
    for secret in (old, new):
        Webhook(secret).verify(BODY, headers(signature, at=at))
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(BODY, headers(signature, at=at))


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (BODY + b" ", {}),
        (BODY, {"webhook-id": "evt_other"}),
        (BODY, {"webhook-timestamp": "1614265330"}),
        (BODY, {"webhook-signature": "v1,AAAA"}),
        (BODY, {"webhook-signature": ""}),
        (BODY, {"webhook-timestamp": "yesterday"}),
        (BODY, {"webhook-signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}),
    ],
    ids=["tampered body", "other id", "stale", "wrong", "none", "no time", "unknown version"],
)
def test_what_was_changed_on_the_way_is_refused(body: bytes, changed: dict[str, str]) -> None:
    at = now()
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, {**headers(sign(ID, at, BODY, [SECRET]), at=at), **changed})


@pytest.mark.parametrize("body", [b"\xff\xfe", b'{"a": "\xc3"}'])
def test_a_body_that_is_no_text_is_signed_as_the_bytes_that_it_is(body: bytes) -> None:
    expected = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), b"evt_1.1." + body, "sha256")
    assert sign("evt_1", 1, body, [SECRET]) == f"v1,{base64.b64encode(expected).decode()}"
    with pytest.raises(ValueError, match="codec"):  # the library reads text alone, and does not say so in its own words
        Webhook(SECRET).verify(body, headers(sign(ID, now(), body, [SECRET])))


@pytest.mark.parametrize("signature", ["v1", "v1,not base64!", "v1, v1,", ",", "v1 " * 1000])
def test_a_signature_out_of_shape_is_refused(signature: str) -> None:
    with pytest.raises((WebhookVerificationError, ValueError)):
        Webhook(SECRET).verify(BODY, headers(signature))


def test_a_tenants_secret_is_its_own_and_always_the_same() -> None:
    made = {secret_of_tenant(tenant, secret) for tenant in ("acme", "other") for secret in (SECRET, new_secret())}
    assert len(made) == 4
    assert SECRET not in made
    mac = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), b"vultus webhooks of tenant acme", "sha256")
    assert read_secret(secret_of_tenant("acme", SECRET)) == mac, "receivers have it: it must not change"


def test_secrets_are_fresh_and_long() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(read_secret(secret)) for secret in made} == {32}


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "whsec_QUJD", "hunter2", "whsec_" + "!" * 40, base64.b64encode(bytes(32)).decode()],
)
def test_what_is_no_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="24 to 64") as refused:
        read_secret(text)
    assert not text or text == "whsec_" or text not in str(refused.value)
