"""Hostile HTTP requests, byte for byte, and the statuses that may answer them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

HOST: Final = b"Host: 127.0.0.1\r\n"
REFUSED: Final = frozenset({400, 404, 405, 408, 411, 413, 414, 415, 422, 431, 501})
FINE: Final = frozenset({200, 202})
CHUNKED: Final = b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
DEEP: Final = 100_000
FRACTION: Final = "a fraction of 100,000 digits"
"""Long, but still a number."""
PICTURE_PART: Final = (
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="%b"\r\nContent-Type: image/png\r\n\r\n%b\r\n'
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and the correct statuses; an answer other than success must be a problem document."""

    name: str
    sent: bytes
    statuses: frozenset[int] = REFUSED


def post(path: str, body: bytes, kind: bytes, *, more: bytes = b"") -> bytes:
    head = b"POST %b HTTP/1.1\r\n" % path.encode() + HOST + b"Content-Type: %b\r\n" % kind + more
    return head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


def job(body: str, *, more: bytes = b"") -> bytes:
    return post("/v1/jobs", body.encode("utf-8", "surrogatepass"), b"application/json", more=more)


def field(name: bytes, value: bytes) -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name, value)


def form(*parts: bytes, kind: bytes = b"multipart/form-data; boundary=b", more: bytes = b"") -> bytes:
    return post("/v1/jobs", b"".join([*parts, b"--b--\r\n"]), kind, more=more)


def json_bombs() -> Iterator[Exchange]:
    """Depths, numbers and letters that break JSON parsers."""
    for name, value in {
        "100,000 arrays": "[" * DEEP,
        "100,000 arrays, closed": "[" * DEEP + "]" * DEEP,
        "100,000 objects": '{"a":' * DEEP,
        "a number of 100,000 digits": "9" * DEEP,
        "1e999999": "1e999999",
        FRACTION: "0." + "3" * DEEP,
        "NaN": "NaN",
        "half a letter": '"\\ud800"',
        "half a letter as it is": '"\ud800"',
        "a zero byte": '"\0"',
        "one text of 200 KB": '"' + "x" * 200_000 + '"',
    }.items():
        for place in ("metadata", "params"):
            image = '"image": {"base64": "AA=="}'
            yield Exchange(
                f"json: {name} in {place}", job(f'{{"operation": "detect", {image}, "{place}": {{"a": {value}}}}}')
            )
        yield Exchange(f"json: {name} as the whole", job(value))
        yield Exchange(
            f"form: {name} in metadata",
            form(
                field(b"operation", b"detect"), field(b"metadata", f'{{"a": {value}}}'.encode("utf-8", "surrogatepass"))
            ),
        )
        yield Exchange(
            f"compare: {name}",
            post(
                "/compare",
                f'{{"embedding1": [{value}], "embedding2": [1]}}'.encode("utf-8", "surrogatepass"),
                b"application/json",
            ),
            FINE if name == FRACTION else REFUSED,
        )
    yield Exchange(
        "json: a name that comes twice",
        job('{"operation": "detect", "operation": "paint", "image": {"base64": "AA=="}}'),
    )
    yield Exchange("json: base64 of nothing", job('{"operation": "detect", "image": {"base64": ""}}'))
    yield Exchange("json: 70,000 names", job("{" + ",".join(f'"k{number}": 1' for number in range(70_000)) + "}"))
    yield Exchange("json: UTF-16", post("/v1/jobs", '{"operation": "detect"}'.encode("utf-16"), b"application/json"))
    yield Exchange("json: not UTF-8", post("/v1/jobs", b'{"operation": "\xff\xfe"}', b"application/json"))
    yield Exchange("json: nothing", job(""))


def multipart_bombs() -> Iterator[Exchange]:
    """Countless parts, endless heads, and boundaries that do not exist."""
    yield Exchange("form: 100,000 fields", form(*[field(b"f%d" % number, b"x") for number in range(100_000)]))
    yield Exchange("form: 20,000 files", form(*[PICTURE_PART % (b"a", b"x")] * 20_000))
    yield Exchange("form: one field 16 times", form(*[field(b"operation", b"detect")] * 16))
    yield Exchange("form: a field of 2 MB", form(field(b"metadata", b"x" * 2_000_000)))
    yield Exchange("form: a part's head of 2 MB", form(field(b"n" * 2_000_000, b"x")))
    yield Exchange("form: 50,000 heads of a part", form(b"--b\r\n" + b"X-A: y\r\n" * 50_000 + b"\r\n\r\n"))
    yield Exchange("form: no name", form(b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n"))
    yield Exchange("form: no boundary", form(field(b"operation", b"detect"), kind=b"multipart/form-data"))
    yield Exchange(
        "form: an empty boundary", form(field(b"operation", b"detect"), kind=b"multipart/form-data; boundary=")
    )
    yield Exchange("form: a boundary of 9,000", form(kind=b"multipart/form-data; boundary=" + b"b" * 9000))
    yield Exchange(
        "form: a form within a form",
        form(field(b"operation", b"--c\r\n\r\n--c--"), kind=b"multipart/form-data; boundary=b"),
    )
    yield Exchange("form: mixed", form(field(b"operation", b"detect"), kind=b"multipart/mixed; boundary=b"))
    yield Exchange("form: line ends of 2 MB", form(b"\r\n" * 1_000_000))
    yield Exchange("form: dashes of 2 MB", form(b"--b" + b"-" * 2_000_000))
    for charset in (b"punycode", b"undefined", b"idna", b"utf-16", b"hex"):
        yield Exchange(
            f"form: written in {charset.decode()}",
            form(field(b"operation", b"a-9"), kind=b"multipart/form-data; boundary=b; charset=" + charset),
        )


def injections(picture: bytes) -> Iterator[Exchange]:
    """Line breaks, paths and markup in place of names; the picture itself is valid, so success may be correct."""
    detect = field(b"operation", b"detect")
    for name, text in {
        "a path": b"../../../../etc/passwd",
        "a path of Windows": b"..\\..\\boot.ini",
        "a zero byte": b"a\0.png",
        "line ends": b"a%0d%0aSet-Cookie: x=1",
        "markup": b"<script>alert(1)</script>",
        "5,000 letters": b"x" * 3900,
    }.items():
        yield Exchange(f"a file's name with {name}", form(detect, PICTURE_PART % (text, picture)), FINE)
        yield Exchange(f"a field's name with {name}", form(detect, PICTURE_PART % (b"a", picture), field(text, b"x")))
    yield Exchange(
        "metadata with line ends",
        form(detect, PICTURE_PART % (b"a", picture), field(b"metadata", b'{"a": "x\\r\\nSet-Cookie: y=1"}')),
        FINE,
    )
    for header in (b"Idempotency-Key", b"Prefer", b"Cancel-After", b"Last-Event-ID"):
        for name, text in {
            "a zero byte": b"a\0b",
            "a bare line end": b"a\nX-Injected: 1",
            "a bare return": b"a\rX-Injected: 1",
        }.items():
            yield Exchange(
                f"{header.decode()} with {name}",
                form(detect, PICTURE_PART % (b"a", picture), more=header + b": " + text + b"\r\n"),
                REFUSED | FINE,
            )
    yield Exchange(
        "an idempotency key of 5,000",
        form(detect, PICTURE_PART % (b"a", picture), more=b"Idempotency-Key: " + b"k" * 5000 + b"\r\n"),
    )
    yield Exchange(
        "X-Request-ID with markup", form(detect, PICTURE_PART % (b"a", picture), more=b"X-Request-ID: <b>\r\n"), FINE
    )
    for path in (
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/jobs/../../x",
        "/v1/jobs/job_00%00",
        "/docs/assets/..%2f..%2f..%2fetc/passwd",
        "/docs/assets/%2e%2e/%2e%2e/page.py",
        "/v1/jobs/" + "a" * 5000,
        "/%ff%fe",
        "/v1/jobs?cursor=" + "A" * 5000,
        "/v1/jobs?limit=" + "9" * 5000,
        "/v1/jobs?created_after=9999999999-01-01",
    ):
        yield Exchange(
            f"path {path[:40]}", b"GET %b HTTP/1.1\r\n" % path.encode() + HOST + b"Connection: close\r\n\r\n"
        )


def lines() -> Iterator[Exchange]:
    """Barely HTTP, or ambiguous for two servers."""
    for name, sent in {
        "noise": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\xff" * 64 + b"\r\n\r\n",
        "no version": b"GET /livez\r\n" + HOST + b"\r\n",
        "version 9.9": b"GET /livez HTTP/9.9\r\n" + HOST + b"\r\n",
        "a length of -1": b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
        "a length of 10^30": b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n",
        "a length of 10^12": b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Content-Length: 1" + b"0" * 12 + b"\r\n\r\n",
        "two lengths": b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
        "length and chunks": b"POST /v1/jobs HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "chunks of a name unknown": b"POST /v1/jobs HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n",
        "a chunk of 10^30": b"POST /v1/jobs HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"f" * 30
        + b"\r\n",
        "a space before a colon": b"GET /livez HTTP/1.1\r\n" + HOST + b"X-A : b\r\n\r\n",
        "a folded header": b"GET /livez HTTP/1.1\r\n" + HOST + b"X-A: b\r\n c\r\n\r\n",
        "an absolute address": b"GET http://[::1 HTTP/1.1\r\n" + HOST + b"\r\n",
        "a tunnel": b"CONNECT 127.0.0.1:6379 HTTP/1.1\r\n" + HOST + b"\r\n",
        "letters beyond ASCII in the target": "GET /ümlaut HTTP/1.1\r\n".encode() + HOST + b"\r\n",
        "1,000 headers": b"GET /livez HTTP/1.1\r\n"
        + HOST
        + b"".join(b"X-%d: y\r\n" % n for n in range(1000))
        + b"\r\n",
        "a header of 1 MB": b"GET /livez HTTP/1.1\r\n" + HOST + b"X-A: " + b"y" * 1_000_000 + b"\r\n\r\n",
        "an address of 1 MB": b"GET /" + b"y" * 1_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        "no host": b"GET /livez HTTP/1.1\r\n\r\n",
        "two hosts": b"GET /livez HTTP/1.1\r\n" + HOST * 2 + b"\r\n",
        "another host in the address": b"GET http://elsewhere.example/livez HTTP/1.1\r\n" + HOST + b"\r\n",
        "chunks within gzip": b"POST /v1/jobs HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "chunks in HTTP/1.0": b"POST /v1/jobs HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "a trailer of 1 MB": CHUNKED + b"0\r\nX-A: " + b"y" * 1_000_000 + b"\r\n\r\n",
        "100,000 trailers": CHUNKED + b"0\r\n" + b"X-A: y\r\n" * 100_000 + b"\r\n",
        "a chunk extension of 1 MB": CHUNKED + b"1;a=" + b"y" * 1_000_000 + b"\r\na\r\n0\r\n\r\n",
        "200,000 chunks of one byte": CHUNKED + b"1\r\na\r\n" * 200_000 + b"0\r\n\r\n",
        "10,000 requests at once": (b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n") * 10_000,
        "an upgrade with a body": b"POST /v1/jobs HTTP/1.1\r\n"
        + HOST
        + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
        "an upgrade": b"GET /v1/jobs HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    }.items():
        yield Exchange(f"line: {name}", sent, REFUSED | FINE)


def exchanges(picture: bytes) -> Iterator[Exchange]:
    """All of them; `picture` is an acceptable image."""
    yield from json_bombs()
    yield from multipart_bombs()
    yield from injections(picture)
    yield from lines()
