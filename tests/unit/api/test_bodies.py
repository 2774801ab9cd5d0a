"""Bodies: whatever they say of themselves, they end in fields or in a clear refusal."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from api.bodies import Form, parse_object, read_form
from api.submissions import check_metadata
from shared.errors import ErrorCode, RequestError

FIELD = b'--b\r\nContent-Disposition: form-data; name="operation"\r\n\r\n%b\r\n--b--\r\n'


def read(body: bytes, *, parameters: bytes = b"boundary=b") -> Form:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"multipart/form-data; " + parameters)]
    return asyncio.run(read_form(Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)))


def refusal(body: bytes, *, parameters: bytes = b"boundary=b") -> ErrorCode:
    with pytest.raises(RequestError) as caught:
        read(body, parameters=parameters)
    return caught.value.code


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "us-ascii", '"utf-8"'])
def test_texts_in_utf_8_are_read(charset: str) -> None:
    assert read(FIELD % b"detect", parameters=b"boundary=b; charset=" + charset.encode()).texts == {
        "operation": "detect"
    }


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "undefined", "utf-16", "unicode_escape", "hex", "../../x", "\xff"]
)
def test_any_other_writing_is_refused(charset: str) -> None:
    parameters = b"boundary=b; charset=" + charset.encode("latin-1")
    assert refusal(FIELD % b"detect", parameters=parameters) is ErrorCode.UNSUPPORTED_MEDIA_TYPE


def test_a_file_keeps_no_name_that_could_lead_anywhere() -> None:
    part = FIELD.replace(b'"operation"', b'"image"; filename="../../etc/passwd\0.jpg"')
    assert read(part % b"bytes") == Form(files={"image": b"bytes"}, texts={})


@given(parameters=st.binary(max_size=60), body=st.binary(max_size=300))
def test_any_form_ends_in_fields_or_a_refusal(parameters: bytes, body: bytes) -> None:
    for said in (parameters, b"boundary=b", b"boundary=b; " + parameters):
        for sent in (body, b"--b\r\n" + body, FIELD % body):
            try:
                read(sent, parameters=said.replace(b"\n", b""))
            except RequestError as error:
                assert error.detail  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a": 1e999999}',
        '{"a": -1e999999}',
        '{"a": NaN}',
        '{"a": ' + "9" * 100_000 + "}",
        '{"a": "\\ud800"}',
        '{"\\udfff": 1}',
        '{"a": 1',
        '"text"',
        "null",
    ],
    ids=[
        "deep",
        "deep objects",
        "infinite",
        "less",
        "NaN",
        "long",
        "half a letter",
        "half a name",
        "cut",
        "text",
        "null",
    ],
)
def test_numbers_depths_and_letters_that_cannot_be_kept_are_refused(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_metadata(parse_object(text, name="metadata"))
    assert caught.value.code in {ErrorCode.MALFORMED_JSON, ErrorCode.INVALID_REQUEST}


def test_of_a_name_that_comes_twice_the_last_counts() -> None:
    assert parse_object('{"a": 1, "a": 2}', name="metadata") == {"a": 2}
