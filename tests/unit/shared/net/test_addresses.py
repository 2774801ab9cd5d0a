from collections.abc import Iterable
from ipaddress import ip_network

import pytest

from shared.net.addresses import PRIVATE as ALL
from shared.net.addresses import Network, is_open, read

EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))
CLOSED = (
    # addresses that Python 3.11 calls global
    *("192.0.0.8", "224.0.0.1", "ff02::1", "192.88.99.1", "168.63.129.16", "::127.0.0.1", "64:ff9b::a9fe:a9fe"),
    *("2002:7f00:1::", "fec0::1", "3fff::1", "5f00::1"),
    # cloud metadata
    *("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
    "fd00:42::42",
    # the rest of the registries
    *("0.0.0.0", "0.1.2.3", "169.254.0.1", "192.0.0.170", "192.0.2.1", "198.18.0.1", "198.19.255.255"),  # noqa: S104
    *("198.51.100.1", "203.0.113.5", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.31.196.1"),
    *("192.52.193.1", "192.175.48.1"),
    *("::", "fe80::1", "100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff::1", "2001:db8::1"),
    *("64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2620:4f:8000::1", "3fff:fff::1", "4000::1", "ff0e::1"),
    *("::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "1000::1"),
)
PRIVATE = (
    *("127.0.0.1", "127.255.255.255", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1"),
    *("100.64.0.1", "100.127.255.255", "::1", "fc00::1", "fdff::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
)
PUBLIC = (
    *("8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
    *("128.0.0.0", "168.63.129.15", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.167.255.255"),
    *("223.255.255.255", "2606:4700::1111", "2001:200::1", "2001:4860:4860::8888", "2003::1", "::ffff:8.8.8.8"),
)


def opened(texts: Iterable[str], *, private: tuple[Network, ...]) -> list[str]:
    return [text for text in texts if is_open(read(text), private=private)]


@pytest.mark.parametrize("private", [(), ALL, EVERYTHING])
def test_special_addresses_stay_blocked_regardless_of_settings(private: tuple[Network, ...]) -> None:
    assert opened(CLOSED, private=private) == []


def test_private_addresses_are_open_only_if_allowed() -> None:
    assert opened(PRIVATE, private=()) == []
    assert opened(PRIVATE, private=ALL) == list(PRIVATE)


def test_only_listed_networks_are_open() -> None:
    named = (ip_network("10.1.0.0/16"), ip_network("fc00::/8"))
    assert opened(PRIVATE, private=named) == ["fc00::1"]
    assert is_open(read("10.1.2.3"), private=named)
    assert is_open(read("::ffff:10.1.2.3"), private=named)


@pytest.mark.parametrize("private", [(), ALL])
def test_public_addresses_are_open_up_to_the_edges_of_blocked_networks(private: tuple[Network, ...]) -> None:
    assert opened(PUBLIC, private=private) == list(PUBLIC)


def test_an_ipv4_mapped_address_becomes_the_ipv4_address() -> None:
    assert str(read("::ffff:8.8.8.8")) == "8.8.8.8"


@pytest.mark.parametrize("text", ["fe80::1%eth0", "::1%1", "8.8.8.8%eth0", "0177.0.0.1", "127.1", "", "example.org"])
def test_text_that_is_not_a_plain_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(text)
