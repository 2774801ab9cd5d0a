"""Cursors: they lead to their position, and nothing else is accepted as one."""

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.pagination import _seal, read_cursor, read_delivery_cursor, write_cursor, write_delivery_cursor
from shared.errors import ErrorCode, RequestError
from shared.jobs import Status, new_job_id
from shared.ledger.jobs.listing import JobFilter, Position

ALL = JobFilter()
POSITION = Position(1_700_000_000.123456, new_job_id(shard=3, now_ms=1))


@given(st.floats(min_value=0, max_value=1e11), st.integers(0, 255))
def test_a_cursor_leads_back_to_its_position(at: float, shard: int) -> None:
    position = Position(at, new_job_id(shard=shard, now_ms=1))
    assert read_cursor(write_cursor(position, ALL), ALL) == position


def refused(text: str, wanted: JobFilter = ALL) -> bool:
    with pytest.raises(RequestError) as caught:
        read_cursor(text, wanted)
    return caught.value.code is ErrorCode.INVALID_REQUEST and caught.value.fields[0].field == "cursor"


def test_a_cursor_of_another_list_is_refused() -> None:
    assert refused(write_cursor(POSITION, ALL), JobFilter(status=Status.FAILED))


def test_every_change_of_a_cursor_is_refused() -> None:
    cursor = write_cursor(POSITION, ALL)
    for at, letter in enumerate(cursor):
        assert refused(cursor[:at] + ("B" if letter == "A" else "A") + cursor[at + 1 :])
        assert refused(cursor[:at])


@given(st.text(max_size=300))
def test_garbage_is_refused(text: str) -> None:
    assert refused(text)


@given(st.binary(max_size=150))
def test_sealed_garbage_is_refused(raw: bytes) -> None:
    assert refused(urlsafe_b64encode(raw).decode().rstrip("="))


@pytest.mark.parametrize(
    "place",
    [
        b"not json", b"[]", b"[1]", b"[1,2]", b'{"a":1}', b"null", b'["x","y"]', b'[null,"a"]', b'[NaN,"a"]',
        b'[Infinity,"a"]', b'[1e999,"a"]', b'[-1,"a"]', b'[1e12,"a"]', b'[1,"a","b"]', b"[" * 120, b"\xff\xfe\xfd" * 9,
    ],
)  # fmt: skip
def test_a_forged_cursor_is_refused_whatever_its_seal_covers(place: bytes) -> None:
    job_list = urlsafe_b64encode(_seal(place, ALL) + place).decode().rstrip("=")
    assert refused(job_list)
    deliveries = urlsafe_b64encode(_seal(place, "whe_1") + place).decode().rstrip("=")
    with pytest.raises(RequestError, match="invalid_request"):
        read_delivery_cursor(deliveries, of="whe_1")


def test_a_delivery_cursor_leads_back_to_its_position() -> None:
    assert read_delivery_cursor(write_delivery_cursor((12.5, "dlv_1"), of="whe_1"), of="whe_1") == (12.5, "dlv_1")
