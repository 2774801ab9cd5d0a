"""The issuer's keys, from a file or a URL."""

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


def test_a_jwks_file_is_read_each_time(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(b"one")
    assert read(str(path)) == b"one"
    path.write_bytes(b"two")
    assert read(str(path)) == b"two"


def test_a_missing_jwks_file_is_a_read_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"jwks\.json"):
        read(str(tmp_path / "jwks.json"))


def test_an_invalid_jwks_url_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="user"):
        reader("https://user@id.example/jwks")


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "100.100.100.200"])
def test_a_jwks_is_never_fetched_from_a_metadata_address(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def looked_up(host: str, port: int) -> Sequence[str]:
        del host, port
        return [address]

    monkeypatch.setattr("api.auth.jwks.look_up", looked_up)
    with pytest.raises(FetchError) as refused:
        read("https://id.example/jwks")
    assert refused.value.code is ErrorCode.IMAGE_URL_REFUSED
