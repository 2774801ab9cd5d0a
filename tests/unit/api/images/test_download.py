"""Downloads over a fake network."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.images.download import DownloadOptions, download
from api.settings.image_urls import HostRule, UrlPolicy
from shared.errors import ErrorCode, FetchError, ImageError, RequestError, VultusError
from shared.net.addresses import PRIVATE
from shared.net.urls import Url, UrlError, read_url
from tests.clock import run
from tests.unit.api.networks import Network, Resolver, answer

PUBLIC = "93.184.215.14"
OTHER = "2606:4700::1111"
AMPLE = timedelta(minutes=1)
"""Far beyond what a fetch from a made-up network takes, however busy the machine."""
TLS = ssl.create_default_context()
BRIEF = timedelta(seconds=0.05)
URL = read_url("https://photos.example.org/1.jpg?token=secret")


def fetched(
    url: Url = URL,
    *,
    network: Network,
    resolve: Callable[[str, int], Any] | None = None,
    private_too: bool = False,
    most: int = 100,
    within: timedelta = AMPLE,
) -> bytes:
    options = DownloadOptions(
        tls=TLS,
        max_bytes=most,
        timeout=within,
        private=PRIVATE if private_too else (),
        resolve=resolve or Resolver([PUBLIC]),
        network=network,
    )
    return run(download(url, options=options))


def refusal(code: ErrorCode, **how: Any) -> VultusError:
    with pytest.raises(VultusError) as refused:
        fetched(**how)
    assert refused.value.code is code
    assert "secret" not in refused.value.detail
    return refused.value


def test_the_connection_goes_to_the_checked_address() -> None:
    network, resolver = Network(answer(content_length="6")), Resolver([PUBLIC], ["127.0.0.1"])
    assert fetched(network=network, resolve=resolver) == b"pixels"
    assert resolver.asked == ["photos.example.org"]  # once: a second answer, which may differ, is never asked for
    assert network.connected == [(PUBLIC, 443)]
    lines = network.sent.decode().split("\r\n")
    assert lines[0] == "GET /1.jpg?token=secret HTTP/1.1"
    assert "Host: photos.example.org" in lines
    assert "Accept-Encoding: identity" in lines
    assert not [line for line in lines if line.lower().startswith(("cookie", "authorization", "referer"))]


@pytest.mark.parametrize(
    "found",
    [
        [PUBLIC, "127.0.0.1"],
        ["10.0.0.1", PUBLIC],
        [PUBLIC, "::1"],
        [OTHER, "169.254.169.254"],
        [PUBLIC, "::ffff:127.0.0.1"],
        [PUBLIC, "fe80::1%eth0"],
        [PUBLIC] * 9 + ["64:ff9b::7f00:1"],
        ["not an address"],
    ],
)
def test_one_blocked_address_blocks_the_host(found: list[str]) -> None:
    network = Network(answer())
    assert not refusal(ErrorCode.IMAGE_URL_REFUSED, network=network, resolve=Resolver(found)).retryable
    assert network.connected == []


def test_metadata_stays_blocked_if_private_addresses_are_allowed() -> None:
    network = Network(answer(content_length="6"))
    assert fetched(network=network, resolve=Resolver(["10.0.0.1"]), private_too=True) == b"pixels"
    for metadata in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"):
        refusal(ErrorCode.IMAGE_URL_REFUSED, network=network, resolve=Resolver([metadata]), private_too=True)
    assert network.connected == [("10.0.0.1", 443)]


@pytest.mark.parametrize("found", [socket.gaierror("no such name"), []])
def test_an_unresolved_name_is_retryable(found: Any) -> None:
    network = Network(answer())
    assert refusal(ErrorCode.IMAGE_UNREACHABLE, network=network, resolve=Resolver(found)).retryable
    assert network.connected == []


def test_a_hanging_resolver_is_limited_by_the_fetch_timeout() -> None:
    async def hang(host: str, port: int) -> Sequence[str]:
        del host, port
        await asyncio.sleep(60)
        return [PUBLIC]

    assert refusal(ErrorCode.IMAGE_UNREACHABLE, network=Network(), resolve=hang, within=BRIEF).retryable


def test_the_next_address_is_tried_if_one_refuses() -> None:
    network = Network(answer(content_length="6"), dead=[OTHER])
    assert fetched(network=network, resolve=Resolver([OTHER, PUBLIC])) == b"pixels"
    assert network.connected == [(OTHER, 443), (PUBLIC, 443)]
    refusal(ErrorCode.IMAGE_UNREACHABLE, network=Network(dead=[PUBLIC]))


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *(
            ("404 Not Found", False),
            ("403 Forbidden", False),
            ("206 Partial Content", False),
            ("204 No Content", False),
        ),
        *(("408 Request Timeout", True), ("429 Too Many Requests", True), ("500 Oops", True), ("503 Busy", True)),
    ],
)
def test_any_status_except_200_is_refused(status: str, *, retryable: bool) -> None:
    error = refusal(ErrorCode.IMAGE_UNREACHABLE, network=Network(answer(status, content_length="0", body=b"")))
    assert (status[:3] in error.detail, error.retryable) == (True, retryable)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_not_followed(status: str) -> None:
    network = Network(answer(status, location="http://127.0.0.1/", content_length="0", body=b""))
    assert not refusal(ErrorCode.IMAGE_UNREACHABLE, network=network).retryable
    assert len(network.connected) == 1


def test_a_compressed_response_is_refused_unread() -> None:
    network = Network(answer(content_encoding="gzip"))
    assert "compressed" in refusal(ErrorCode.IMAGE_UNREACHABLE, network=network).detail
    doubled = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Encoding: identity\r\n\r\n"
    refusal(ErrorCode.IMAGE_UNREACHABLE, network=Network(doubled))
    assert fetched(network=Network(answer(content_encoding="identity", content_length="6"))) == b"pixels"


def test_too_many_bytes_are_refused_with_and_without_a_length() -> None:
    exact = answer(body=b"x" * 100, content_length="100")
    assert len(fetched(network=Network(exact))) == 100
    declared = Network(answer(body=b"", content_length="101"))
    assert isinstance(refusal(ErrorCode.IMAGE_TOO_LARGE, network=declared), ImageError)
    refusal(ErrorCode.IMAGE_TOO_LARGE, network=Network(answer(body=b""), *[b"x" * 30] * 4))
    chunked = Network(
        answer(transfer_encoding="chunked", body=b""), *[b"1e\r\n" + b"x" * 30 + b"\r\n"] * 4, b"0\r\n\r\n"
    )
    refusal(ErrorCode.IMAGE_TOO_LARGE, network=chunked)


@pytest.mark.parametrize(
    "said",
    [
        answer(content_length="50"),  # then the end
        b"",
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    ],
)
def test_a_host_that_disconnects_or_sends_no_http_is_unreachable(said: bytes) -> None:
    assert isinstance(refusal(ErrorCode.IMAGE_UNREACHABLE, network=Network(said)), FetchError)


# --- every spelling of a closed address --------------------------------------------------------------------------

CLOSED = st.sampled_from(
    ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "0.0.0.0/8"]
).flatmap(lambda network: st.integers(0, IPv4Network(network).num_addresses - 1).map(IPv4Network(network).__getitem__))
FULL_WIDTH = str.maketrans("0123456789.", "０１２３４５６７８９。")  # noqa: RUF001 - that is what is tested


def number(draw: st.DrawFn, value: int) -> str:
    form = draw(st.sampled_from(["{}", "{:#x}", "{:#X}", "0{:o}", "00{:o}"]))
    return str(form.format(value))


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """A host that some system takes for a closed address."""
    address = draw(CLOSED)
    value, packed = int(address), address.packed
    kept = draw(st.integers(0, 3))  # parts before the last one, as inet_aton reads them
    parts = [*packed[:kept], value & (1 << 8 * (4 - kept)) - 1]
    dotted = ".".join(number(draw, part) for part in parts)
    return draw(
        st.sampled_from(
            [
                dotted,
                f"{dotted}.",
                str(address).translate(FULL_WIDTH),
                f"[::ffff:{address}]",
                f"[{IPv6Address((0xFFFF << 32) + value).exploded}]",
                f"[::{address}]",
                f"[64:ff9b::{address}]",
                f"[64:ff9b:1::{address}]",
                f"[{IPv6Address((0x2002 << 112) + (value << 80))}]",
                f"[2001::{IPv6Address(value ^ 0xFFFFFFFF).exploded[-9:]}]",
                f"[fe80::{packed[3]:x}%25eth0]",
                f"[::1%{packed[3]}]",
                f"user@{dotted}",
                f"photos.example.org@{dotted}",
                f"{dotted}\\@photos.example.org",
                f"{dotted}%00.photos.example.org",
            ]
        )
    )


async def as_a_system_reads_it(host: str, port: int) -> Sequence[str]:
    """What inet_aton or inet_pton make of it: no name is looked up."""
    del port
    return [host] if ":" in host else [str(IPv4Address(socket.inet_aton(host)))]


@given(
    host=spellings(), path=st.sampled_from(["", "/", "/1.jpg", "?x", "#x"]), scheme=st.sampled_from(["https", "http"])
)
def test_no_spelling_of_a_blocked_address_is_connected_to(host: str, path: str, scheme: str) -> None:
    network = Network(answer())
    try:
        url = read_url(f"{scheme}://{host}{path}")
    except UrlError:
        return
    listed = UrlPolicy((HostRule(url.host),), allow_http=True)  # even where the operator has listed it
    assert listed.check(f"{scheme}://{host}{path}", field="image.url") == url
    refusal(ErrorCode.IMAGE_URL_REFUSED, url=url, network=network, resolve=as_a_system_reads_it)
    assert network.connected == []


@given(st.text(max_size=60) | st.from_regex(r"https?://[!-~]{0,60}", fullmatch=True))
def test_any_url_is_refused_or_normalized_idempotently(text: str) -> None:
    policy = UrlPolicy((HostRule("photos.example.org"),))
    try:
        url = policy.check(text, field="image.url")
    except RequestError as refused:
        assert refused.code is ErrorCode.IMAGE_URL_REFUSED  # noqa: PT017 - the other outcome is as good
        return
    assert read_url(str(url)) == url
