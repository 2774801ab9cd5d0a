"""Request bodies: any input yields fields or a clear error."""

import asyncio
import codecs
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from api.http.forms import MAX_PARTS, MAX_TEXT_FIELD, Form, parse, parse_object, read_form
from api.jobs.parsing import FORM_FIELDS, check_metadata
from shared.errors import ErrorCode, RequestError
from tests.unit.api.pictures import BMP, JPEG, PNG, WEBP

FIELD = b'--b\r\nContent-Disposition: form-data; name="operation"\r\n\r\n%b\r\n--b--\r\n'


END = b"--b--\r\n"


def part(head: bytes, data: bytes) -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + data + b"\r\n"


OPERATION = part(b'name="operation"', b"detect")


def read(body: bytes, *, parameters: bytes = b"boundary=b", chunk: int = 1 << 20) -> Form:
    chunks = [body[start : start + chunk] for start in range(0, len(body), chunk)] or [b""]

    async def receive() -> Message:
        data = chunks.pop(0)
        return {"type": "http.request", "body": data, "more_body": bool(chunks)}

    headers = [(b"content-type", b"multipart/form-data; " + parameters)]
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)
    return asyncio.run(read_form(request, FORM_FIELDS))


def refused(body: bytes, *, parameters: bytes = b"boundary=b", chunk: int = 1 << 20) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read(body, parameters=parameters, chunk=chunk)
    return caught.value


def refusal(body: bytes, *, parameters: bytes = b"boundary=b") -> ErrorCode:
    return refused(body, parameters=parameters).code


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "us-ascii", '"utf-8"'])
def test_texts_in_utf_8_are_read(charset: str) -> None:
    assert read(FIELD % b"detect", parameters=b"boundary=b; charset=" + charset.encode()).texts == {
        "operation": "detect"
    }


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "undefined", "utf-16", "unicode_escape", "hex", "../../x", "\xff"]
)
def test_other_charsets_are_refused(charset: str) -> None:
    parameters = b"boundary=b; charset=" + charset.encode("latin-1")
    assert refusal(FIELD % b"detect", parameters=parameters) is ErrorCode.UNSUPPORTED_MEDIA_TYPE


def test_a_file_does_not_keep_its_name() -> None:
    part = FIELD.replace(b'"operation"', b'"image"; filename="../../etc/passwd\0.jpg"')
    assert read(part % b"bytes") == Form(files={"image": (b"bytes",)}, texts={})


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
    ],
)
def test_json_that_cannot_be_represented_is_refused(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_metadata(parse_object(text, name="metadata"))
    assert caught.value.code in {ErrorCode.MALFORMED_JSON, ErrorCode.INVALID_REQUEST}


def test_the_last_of_duplicate_names_counts() -> None:
    assert parse_object('{"a": 1, "a": 2}', name="metadata") == {"a": 2}


WHOLE = OPERATION + part(b'name="image"; filename="a.jpg"', JPEG) + part(b'name="params"', b'{"max_faces": 1}')


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_chunk_size_does_not_affect_parsing(chunk: int) -> None:
    assert read(WHOLE + END, chunk=chunk) == Form(
        files={"image": (JPEG,)}, texts={"operation": "detect", "params": '{"max_faces": 1}'}
    )


def test_the_repr_of_a_form_does_not_contain_its_values() -> None:
    assert repr(read(WHOLE + END)) == "Form()"


def test_a_truncated_form_is_malformed() -> None:
    whole = OPERATION + part(b'name="params"', b'{"max_faces": 1}') + b"--b--"
    for length in range(len(whole)):
        error = refused(whole[:length])
        assert error.code is ErrorCode.MALFORMED_FORM, whole[:length]
    assert "before its closing boundary" in refused(whole[:-2]).detail
    assert read(whole).texts == {"operation": "detect", "params": '{"max_faces": 1}'}


@pytest.mark.parametrize(
    ("body", "parameters"),
    [
        (b"", b"boundary=b"),
        (b"no form at all", b"boundary=b"),
        (WHOLE + END, b"boundary=other"),
        (WHOLE + END, b"boundary="),
        (WHOLE + END, b"charset=utf-8"),
        (WHOLE + END, b"boundary=" + b"b" * 500),
        (b"--b\r\nContent-Type: text/plain\r\n\r\ndetect\r\n" + END, b"boundary=b"),
        (OPERATION.replace(b"\r\n", b"\n") + END, b"boundary=b"),
        (b"--b\r\nContent Disposition: form-data; name=a\r\n\r\nb\r\n" + END, b"boundary=b"),
    ],
    ids=["empty", "text", "another boundary", "empty boundary", "none", "long", "no name", "LF only", "bad header"],
)
def test_a_body_that_is_not_a_form_is_malformed(body: bytes, parameters: bytes) -> None:
    assert refusal(body, parameters=parameters) is ErrorCode.MALFORMED_FORM


@pytest.mark.parametrize("chunk", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\r\n", b""),
        (b"This is a multi-part message in MIME format.\r\n", b""),
        (b"--boundary\r\n--bx\r\n -- b\r\n\r\n", b""),
        (b"", b"\r\nbye\r\n--b\r\n"),
    ],
)
def test_text_before_and_after_a_form_is_ignored(before: bytes, after: bytes, chunk: int) -> None:
    assert read(before + OPERATION + END + after, chunk=chunk).texts == {"operation": "detect"}


@pytest.mark.parametrize("image", [JPEG, PNG, WEBP, BMP], ids=["JPEG", "PNG", "WebP", "BMP"])
@pytest.mark.parametrize(
    "head",
    [
        b'name="image"; filename="a.jpg"\r\nContent-Type: image/jpeg',
        b'name="image"\r\nContent-Type: image/jpeg',
        b'name="image"',
        b"name=image",
        b'name="image"; filename=""',
        b'name="image"; filename="a.json"\r\nContent-Type: application/json',
        b"name=\"image\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.jpg",
        b"name=\"image\"; filename=a.jpg; filename*=utf-8''a.jpg",
    ],
)
def test_an_image_is_a_file_whatever_the_headers_of_its_part(head: bytes, image: bytes) -> None:
    assert read(OPERATION + part(head, image) + END).files == {"image": (image,)}


@pytest.mark.parametrize("image", [JPEG, PNG, WEBP, BMP], ids=["JPEG", "PNG", "WebP", "BMP"])
def test_a_reference_is_a_file_or_json_by_its_content(image: bytes) -> None:
    text = b'{"url": "https://example.org/a.jpg"}'
    for head in (b'name="reference"', b'name="reference"; filename="r"', b"name=\"reference\"; filename*=UTF-8''r"):
        assert read(part(head, image) + END).files == {"reference": (image,)}
        assert read(part(head, text) + END).texts == {"reference": text.decode()}
    assert read(part(b'name="reference"', b"undefined") + END).texts == {"reference": "undefined"}


def test_a_text_field_is_text_even_when_it_is_sent_as_a_file() -> None:
    head = b'name="params"; filename="params.json"\r\nContent-Type: application/octet-stream'
    assert read(part(head, b'{"max_faces": 1}') + END).texts == {"params": '{"max_faces": 1}'}


NAMES = sorted(FORM_FIELDS.known)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("blank", [b"", b" \r\n"])
def test_a_blank_field_is_absent(name: str, blank: bytes) -> None:
    assert read(part(b'name="%b"' % name.encode(), blank) + END) == Form()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_input_without_a_chosen_file_is_absent(name: str) -> None:
    head = b'name="%b"; filename=""\r\nContent-Type: application/octet-stream' % name.encode()
    assert read(part(head, b"") * 2 + END) == Form()


def test_a_named_file_without_bytes_is_a_file() -> None:
    assert read(part(b'name="image"; filename="a.jpg"', b"") + END).files == {"image": (b"",)}


def test_a_blank_field_beside_a_filled_one_is_not_a_repetition() -> None:
    assert read(part(b'name="operation"', b"") + OPERATION + END).texts == {"operation": "detect"}
    assert [error.field for error in refused(OPERATION + OPERATION + END).fields] == ["operation"]


@pytest.mark.parametrize("name", ["reference", "params", "metadata", "webhook"])
def test_a_json_null_in_a_text_field_is_absent(name: str) -> None:
    form = read(part(b'name="%b"' % name.encode(), b"null") + END)
    assert form.json(name) is None


def test_a_text_sent_as_an_image_is_explained() -> None:
    error = refused(OPERATION + part(b'name="image"', b"[object File]") + END)
    assert (error.code, error.fields[0].field) == (ErrorCode.INVALID_REQUEST, "image")
    assert "not text" in error.fields[0].detail


def test_a_text_field_above_its_limit_is_named_and_not_called_an_image() -> None:
    error = refused(OPERATION + part(b'name="params"', b" " * MAX_TEXT_FIELD + b"{}") + END)
    assert (error.code, error.fields[0].field) == (ErrorCode.REQUEST_TOO_LARGE, "params")
    assert str(MAX_TEXT_FIELD) in error.fields[0].detail
    assert "image" not in error.detail + error.fields[0].detail


def test_an_image_may_be_larger_than_a_text_field() -> None:
    large = JPEG + b"\0" * MAX_TEXT_FIELD
    assert read(part(b'name="image"', large) + END).files == {"image": (large,)}


def test_a_form_with_too_many_parts_is_refused() -> None:
    error = refused(part(b'name="priority"', b"") * (MAX_PARTS + 1) + END)
    assert (error.code, str(MAX_PARTS) in error.detail) == (ErrorCode.INVALID_REQUEST, True)


@pytest.mark.parametrize("encoding", [b"base64", b"quoted-printable"])
def test_an_encoded_part_is_refused_with_its_field(encoding: bytes) -> None:
    head = b'name="operation"\r\nContent-Transfer-Encoding: ' + encoding
    assert [error.field for error in refused(part(head, b"detect") + END).fields] == ["operation"]
    assert read(part(head.replace(encoding, b"8bit"), b"detect") + END).texts == {"operation": "detect"}


@pytest.mark.parametrize(
    ("charset", "data"),
    [
        (b"", "Grüße".encode()),
        (b"; charset=UTF-8", "Grüße".encode()),
        (b"; charset=ISO-8859-1", "Grüße".encode("latin-1")),
    ],
)
def test_a_text_is_read_by_the_charset_of_its_part(charset: bytes, data: bytes) -> None:
    head = b'name="metadata"\r\nContent-Type: text/plain' + charset
    assert read(part(head, data) + END).texts == {"metadata": "Grüße"}


def test_a_text_in_an_unknown_charset_is_refused_with_its_field() -> None:
    body = part(b'name="metadata"', "Grüße".encode("latin-1")) + END
    assert [error.field for error in refused(body).fields] == ["metadata"]
    assert read(body, parameters=b"boundary=b; charset=ISO-8859-1").texts == {"metadata": "Grüße"}


def test_json_may_begin_with_a_byte_order_mark() -> None:
    assert parse(dict[str, int], codecs.BOM_UTF8 + b'{"a": 1}') == {"a": 1}
    assert parse(dict[str, int], '\ufeff{"a": 1}', within="params") == {"a": 1}
    assert parse_object('\ufeff{"a": 1}', name="metadata") == {"a": 1}


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_utf_16_json_is_recognized(codec: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(dict[str, Any], '{"a": 1}'.encode(codec))
    assert (caught.value.code, "UTF-16" in caught.value.detail) == (ErrorCode.MALFORMED_JSON, True)
