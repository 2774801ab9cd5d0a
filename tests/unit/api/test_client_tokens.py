"""Client tokens: good for one session and its time, and for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from api.client_tokens import check, issue, read_secrets
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


def test_a_token_is_good_until_its_last_second_and_for_its_own_session() -> None:
    token = issue(SESSION, expires_at=NOW + 10, secrets=[SECRET])
    assert not refused(token)
    assert not refused(token, now=NOW + 10)
    assert refused(token, now=NOW + 10.5)
    assert refused(token, session_id=new_session_id(shard=0, now_ms=1))


def test_the_newest_secret_signs_and_all_are_taken() -> None:
    old = issue(SESSION, expires_at=NOW, secrets=[OTHER])
    assert not refused(old, secrets=(SECRET, OTHER))
    assert refused(old, secrets=(SECRET,))
    assert refused(issue(SESSION, expires_at=NOW, secrets=[SECRET, OTHER]), secrets=(OTHER,))


def test_without_a_secret_nothing_is_signed_and_nothing_is_good() -> None:
    with pytest.raises(RequestError) as off:
        issue(SESSION, expires_at=NOW, secrets=[])
    assert off.value.code is ErrorCode.SESSIONS_OFF
    assert refused(issue(SESSION, expires_at=NOW, secrets=[SECRET]), secrets=())


@given(place=st.integers(0, 200), letter=st.sampled_from("aA0-_.=é\n"))
def test_a_token_with_any_letter_changed_is_refused(place: int, letter: str) -> None:
    token = issue(SESSION, expires_at=NOW, secrets=[SECRET])
    at = place % len(token)
    changed = token[:at] + letter + token[at + 1 :]
    assert refused(changed) or changed == token


@given(st.text(max_size=150))
def test_what_is_no_token_is_refused(text: str) -> None:
    assert refused(text)


def test_a_later_end_cannot_be_written_into_a_token() -> None:
    token = issue(SESSION, expires_at=NOW, secrets=[SECRET])
    assert refused(token.replace(str(NOW), str(NOW + 1000)), now=NOW + 1)


def test_secrets_are_split_by_commas_and_must_be_long() -> None:
    assert read_secrets(SecretStr(f" {SECRET}, {OTHER} ")) == (SECRET, OTHER)
    assert read_secrets(SecretStr("")) == ()
    with pytest.raises(ValueError, match="at least 32") as short:
        read_secrets(SecretStr(f"{SECRET},hunter2"))
    assert "hunter2" not in str(short.value)
