"""Base64 in JSON: unambiguous variants are decoded, others are refused with an explanation."""

import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.images.base64_text import decoded
from shared.errors import ErrorCode, RequestError

DATA = bytes(range(256)) + b"\xfb\xff\xfe!"  # its base64 has +, / and padding
PLAIN = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        base64.encodebytes(DATA).decode(),
        base64.encodebytes(DATA).decode().replace("\n", "\r\n"),
        PLAIN + "\n",
        PLAIN.rstrip("="),
        base64.urlsafe_b64encode(DATA).decode(),
        base64.urlsafe_b64encode(DATA).decode().rstrip("="),
        "data:image/jpeg;base64," + PLAIN,
        "DATA:image/png;charset=utf-8;Base64," + PLAIN,
        "data:;base64," + PLAIN,
    ],
    ids=["plain", "lines", "CRLF", "end", "unpadded", "URL-safe", "both", "data URL", "capitals", "no type"],
)
def test_every_variant_of_base64_is_decoded(text: str) -> None:
    assert "+" in PLAIN
    assert "/" in PLAIN
    assert PLAIN.endswith("=")
    assert decoded(text, field="image.base64") == DATA


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (PLAIN.replace("+", " "), "spaces"),
        ("data:image/jpeg," + PLAIN, "data: URL"),
        (PLAIN.rstrip("=")[:-2], "truncated"),
        (PLAIN + "==", "length"),
        ("b'" + PLAIN + "'", "not valid base64"),
        ("AA==AA==", "not valid base64"),
        ("bäse", "ASCII"),
        ("A\0AA", "not valid base64"),
    ],
)
def test_invalid_base64_is_explained(text: str, word: str) -> None:
    with pytest.raises(RequestError) as caught:
        decoded(text, field="image.base64")
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert caught.value.fields[0].field == "image.base64"
    assert word in caught.value.fields[0].detail


@given(st.binary(max_size=200), st.integers(1, 80))
def test_line_breaks_do_not_change_the_result(data: bytes, width: int) -> None:
    text = base64.b64encode(data).decode()
    lines = "\r\n".join(text[start : start + width] for start in range(0, len(text), width))
    assert decoded(lines, field="image.base64") == data


@given(st.text(alphabet="AZaz09+/-_= \r\n:;,data", max_size=40))
def test_any_text_is_decoded_or_refused(text: str) -> None:
    try:
        data = decoded(text, field="image.base64")
    except RequestError:
        return
    bare = text.rsplit(",", 1)[-1].translate(str.maketrans("-_", "+/", "\r\n =="))
    assert binascii.b2a_base64(data, newline=False).decode().rstrip("=")[:-1] == bare[:-1]
