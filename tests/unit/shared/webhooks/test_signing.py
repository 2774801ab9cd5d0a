"""Signatures: the example and the library of the specification, and messages that must not verify."""

import base64
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from shared.webhooks.signing import new_secret, read_secret, secret_of_tenant, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - published in the specification
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
def test_the_official_library_verifies_our_signatures(key: bytes, text: str) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    body = b'{"text": ' + base64.b64encode(text.encode("utf-8", "replace")).join([b'"', b'"}'])
    at = now()
    Webhook(secret).verify(body, headers(sign("evt_1", at, body, [secret]), event="evt_1", at=at))


def test_both_secrets_verify_during_a_rotation() -> None:
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
def test_a_modified_message_is_refused(body: bytes, changed: dict[str, str]) -> None:
    at = now()
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, {**headers(sign(ID, at, BODY, [SECRET]), at=at), **changed})


@pytest.mark.parametrize("body", [b"\xff\xfe", b'{"a": "\xc3"}'])
def test_a_binary_body_is_signed_byte_for_byte(body: bytes) -> None:
    expected = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), b"evt_1.1." + body, "sha256")
    assert sign("evt_1", 1, body, [SECRET]) == f"v1,{base64.b64encode(expected).decode()}"
    with pytest.raises(ValueError, match="codec"):  # the library only accepts text and raises no error of its own
        Webhook(SECRET).verify(body, headers(sign(ID, now(), body, [SECRET])))


@pytest.mark.parametrize("signature", ["v1", "v1,not base64!", "v1, v1,", ",", "v1 " * 1000])
def test_a_malformed_signature_is_refused(signature: str) -> None:
    with pytest.raises((WebhookVerificationError, ValueError)):
        Webhook(SECRET).verify(BODY, headers(signature))


def test_each_tenant_has_its_own_stable_secret() -> None:
    secrets = {secret_of_tenant(tenant, secret) for tenant in ("acme", "other") for secret in (SECRET, new_secret())}
    assert len(secrets) == 4
    assert SECRET not in secrets
    mac = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), b"vultus webhooks of tenant acme", "sha256")
    assert read_secret(secret_of_tenant("acme", SECRET)) == mac, "receivers store it, so it must not change"


def test_secrets_are_unique_and_long() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(read_secret(secret)) for secret in secrets} == {32}


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "whsec_QUJD", "hunter2", "whsec_" + "!" * 40, base64.b64encode(bytes(32)).decode()],
)
def test_an_invalid_secret_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="24 to 64") as refused:
        read_secret(text)
    assert not text or text == "whsec_" or text not in str(refused.value)
