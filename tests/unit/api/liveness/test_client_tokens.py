"""Client tokens: valid for one session until they expire, and for nothing else."""

import base64
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from api.liveness.client_tokens import AUDIENCE, _key, check, issue
from api.settings.api import read_secrets
from shared.errors import ErrorCode, RequestError
from shared.liveness_sessions import new_session_id

SECRET, OTHER = "s" * 32, "t" * 32
SESSION = new_session_id(shard=0, now_ms=1)
NOW = 1_000_000


def refused(token: str, *, session_id: str = SESSION, now: float = NOW, secrets: tuple[str, ...] = (SECRET,)) -> bool:
    try:
        check(token, session_id=session_id, now=now, secrets=secrets)
    except RequestError as error:
        return error.code is ErrorCode.CLIENT_TOKEN_INVALID
    return False


def test_token_is_valid_until_its_last_second_for_its_session() -> None:
    token = issue(SESSION, expires_at=NOW + 10, secrets=[SECRET])
    assert not refused(token)
    assert not refused(token, now=NOW + 10)
    assert refused(token, now=NOW + 10.5)
    assert refused(token, session_id=new_session_id(shard=0, now_ms=1))


def test_newest_secret_signs_and_all_are_accepted() -> None:
    old = issue(SESSION, expires_at=NOW, secrets=[OTHER])
    assert not refused(old, secrets=(SECRET, OTHER))
    assert refused(old, secrets=(SECRET,))
    assert refused(issue(SESSION, expires_at=NOW, secrets=[SECRET, OTHER]), secrets=(OTHER,))


def test_without_a_secret_nothing_is_signed_or_accepted() -> None:
    with pytest.raises(RequestError) as off:
        issue(SESSION, expires_at=NOW, secrets=[])
    assert off.value.code is ErrorCode.SESSIONS_OFF
    assert refused(issue(SESSION, expires_at=NOW, secrets=[SECRET]), secrets=())


def decoded(token: str) -> list[bytes]:
    """The decoded bytes of each segment: the last letter of a signature has two unused bits."""
    return [base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)) for segment in token.split(".")]


@given(place=st.integers(0, 300), letter=st.sampled_from("aA0-_.=é\n"))
def test_changed_token_is_rejected(place: int, letter: str) -> None:
    token = issue(SESSION, expires_at=NOW, secrets=[SECRET])
    at = place % len(token)
    changed = token[:at] + letter + token[at + 1 :]
    assert refused(changed) or decoded(changed) == decoded(token)


@given(st.text(max_size=150))
def test_malformed_token_is_rejected(text: str) -> None:
    assert refused(text)


def signed(claims: dict[str, object], *, key: bytes = _key(SECRET), algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm=algorithm)


def unsigned(claims: dict[str, object]) -> str:
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "none"}, claims)
    )
    return f"{head}.{body}."


CLAIMS: dict[str, object] = {"aud": AUDIENCE, "sub": SESSION, "exp": NOW}


def test_expiry_of_a_token_cannot_be_extended() -> None:
    head, _, signature = issue(SESSION, expires_at=NOW, secrets=[SECRET]).split(".")
    later = signed(CLAIMS | {"exp": NOW + 1000}, key=_key(OTHER)).split(".")[1]
    assert refused(f"{head}.{later}.{signature}", now=NOW + 1)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(unsigned(CLAIMS), id="unsigned"),
        pytest.param(signed(CLAIMS, key=SECRET.encode()), id="the secret itself as the key"),
        pytest.param(signed(CLAIMS | {"aud": "another"}), id="another audience"),
        pytest.param(signed({"sub": SESSION, "exp": NOW}), id="no audience"),
        pytest.param(signed({"aud": AUDIENCE, "exp": NOW}), id="no session"),
        pytest.param(signed({"aud": AUDIENCE, "sub": SESSION}), id="no end"),
    ],
)
def test_foreign_tokens_are_rejected(token: str) -> None:
    assert not refused(signed(CLAIMS))
    assert refused(token)


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_other_algorithm_with_the_same_key_is_rejected(algorithm: str) -> None:
    assert refused(signed(CLAIMS, algorithm=algorithm))


def test_secrets_are_split_by_commas_and_must_be_long() -> None:
    assert read_secrets(SecretStr(f" {SECRET}, {OTHER} ")) == (SECRET, OTHER)
    assert read_secrets(SecretStr("")) == ()
    with pytest.raises(ValueError, match="at least 32") as short:
        read_secrets(SecretStr(f"{SECRET},hunter2"))
    assert "hunter2" not in str(short.value)
