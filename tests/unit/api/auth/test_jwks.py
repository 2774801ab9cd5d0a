"""The issuer's keys: from a file as it is now, or from an address that is looked at like any other."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from api.auth.jwks import reader
from shared.errors import ErrorCode, FetchError


def read(where: str) -> bytes:
    async def ask() -> bytes:
        return await reader(where)()

    return asyncio.run(ask())


def test_a_file_is_read_as_it_is_at_the_time(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(b"one")
    assert read(str(path)) == b"one"
    path.write_bytes(b"two")
    assert read(str(path)) == b"two"


def test_a_file_that_is_not_there_is_an_error_of_the_reading(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"jwks\.json"):
        read(str(tmp_path / "jwks.json"))


def test_an_address_that_cannot_be_read_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="user"):
        reader("https://user@id.example/jwks")


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "100.100.100.200"])
def test_an_issuer_is_never_looked_for_at_a_metadata_address(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def looked_up(host: str, port: int) -> Sequence[str]:
        del host, port
        return [address]

    monkeypatch.setattr("api.auth.jwks.look_up", looked_up)
    with pytest.raises(FetchError) as refused:
        read("https://id.example/jwks")
    assert refused.value.code is ErrorCode.IMAGE_URL_REFUSED
