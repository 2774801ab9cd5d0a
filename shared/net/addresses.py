"""Decides which IP addresses outbound requests may go to, by a table instead of Python's `is_global`."""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NEVER_4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network (RFC 791)
        "100.100.100.200/32",  # Alibaba Cloud's metadata, inside the shared address space
        "168.63.129.16/32",  # Azure's agent, formally a public address
        "169.254.0.0/16",  # link-local (RFC 3927), and the metadata of most clouds
        "192.0.0.0/24",  # protocol assignments (RFC 6890), including Oracle's metadata
        "192.0.2.0/24",  # documentation (RFC 5737)
        "192.31.196.0/24",  # AS112 (RFC 7535)
        "192.52.193.0/24",  # AMT (RFC 7450)
        "192.88.99.0/24",  # 6to4 relays (RFC 7526)
        "192.175.48.0/24",  # AS112 (RFC 7534)
        "198.18.0.0/15",  # benchmarks (RFC 2544)
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast (RFC 1112)
        "240.0.0.0/4",  # reserved (RFC 1112), and broadcast
    )
)
_PRIVATE_4: Final = tuple(
    IPv4Network(network)
    for network in (
        "10.0.0.0/8",  # private use (RFC 1918)
        "100.64.0.0/10",  # shared address space of carriers (RFC 6598)
        "127.0.0.0/8",  # loopback (RFC 1122)
        "172.16.0.0/12",  # private use
        "192.168.0.0/16",  # private use
    )
)
_UNICAST_6: Final = IPv6Network("2000::/3")
"""All that IANA assigns as global unicast. Everything else is blocked without an entry: unspecified,
IPv4-compatible (`::/96`), NAT64 (`64:ff9b::/96`, `64:ff9b:1::/48`), discard (`100::/64`), segment routing
(`5f00::/16`), link-local (`fe80::/10`), site-local (`fec0::/10`), multicast (`ff00::/8`)."""
_NEVER_6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments (RFC 2928): Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation (RFC 3849)
        "2002::/16",  # 6to4 (RFC 3056): wraps any IPv4 address
        "2620:4f:8000::/48",  # AS112 (RFC 7534)
        "3fff::/20",  # documentation (RFC 9637)
        "fd00:42::/32",  # Scaleway's metadata
        "fd00:ec2::/32",  # AWS' metadata
        "fd20:ce::/32",  # Google Cloud's metadata
    )
)
_PRIVATE_6: Final = tuple(
    IPv6Network(network)
    for network in (
        "::1/128",  # loopback (RFC 4291)
        "fc00::/7",  # unique local (RFC 4193)
    )
)


def read(text: str) -> Address:
    """Parse an IP address. An IPv4-mapped IPv6 address (`::ffff:0:0/96`) becomes the IPv4 address.

    Raises:
        ValueError: the text is not an IP address, or it contains a zone (`fe80::1%eth0`).
    """
    address = ip_address(text)
    if address.version == 4:  # noqa: PLR2004 - IP version
        return address
    if address.scope_id is not None:
        msg = "an address with a zone is valid on one machine only"
        raise ValueError(msg)
    return address.ipv4_mapped or address


PRIVATE: Final[tuple[Network, ...]] = (*_PRIVATE_4, *_PRIVATE_6)
"""Private networks that can be allowed."""


def is_open(address: Address, *, private: Collection[Network]) -> bool:
    """Return whether requests may go to the address: it is public, or private and in one of the networks `private`.

    Link-local, metadata, multicast, reserved and documentation addresses, and those that wrap others (6to4, Teredo,
    NAT64), are always blocked, regardless of `private`.
    """
    if address.version == 4:  # noqa: PLR2004 - IP version
        return _is_open(address, never=_NEVER_4, closed=_PRIVATE_4, private=private)
    mapped = address.ipv4_mapped
    if mapped is not None:
        return is_open(mapped, private=private)
    inside = address in _UNICAST_6 or any(address in network for network in _PRIVATE_6)
    return inside and _is_open(address, never=_NEVER_6, closed=_PRIVATE_6, private=private)


def _is_open(
    address: Address, *, never: tuple[Network, ...], closed: tuple[Network, ...], private: Collection[Network]
) -> bool:
    if any(address in network for network in never):
        return False
    if not any(address in network for network in closed):
        return True
    return any(address.version == network.version and address in network for network in private)
