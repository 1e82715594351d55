"""What kind of place an address is: the internet at large, this machine or network, or never to be reached."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from enum import Enum
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Reach(Enum):
    """How far away an address is."""

    PUBLIC = "public"
    LOCAL = "local"
    """This machine or a private network: only where a rule names the address and the port."""
    NEVER = "never"
    """Metadata services, link-local, multicast, reserved and unspecified addresses: no rule opens them."""


def _networks(*texts: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_METADATA = frozenset(
    ipaddress.ip_address(text)
    # The usual clouds; Alibaba's lies in a shared network, Azure's among public ones, Oracle's in a reserved block.
    for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
_LOCAL = _networks(
    "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7"
)  # fmt: skip
_NEVER_V4 = _networks(
    "0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
)  # fmt: skip
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
"""Everything else of IPv6 is unassigned, of this machine, of this link or of this network."""
_NEVER_V6 = _networks("2001::/23", "2001:db8::/32", "3fff::/20")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def reach_of(text: str) -> Reach:
    """What kind of place an address leads to, and any address that hides within it; the least harmless counts."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return Reach.NEVER
    if isinstance(address, ipaddress.IPv4Address):
        return _reach_v4(address)
    if address.scope_id is not None:
        return Reach.NEVER
    within = [_reach_v4(hidden) for hidden in _hidden(address)]
    if address.ipv4_mapped is not None or address in _NAT64:
        return within[0]  # the outer form is nothing by itself
    reaches = [_reach_v6(address), *within]
    return max(reaches, key=list(Reach).index)


def _reach_v4(address: ipaddress.IPv4Address) -> Reach:
    if address in _METADATA or any(address in network for network in _NEVER_V4):
        return Reach.NEVER
    return Reach.LOCAL if any(address in network for network in _LOCAL if network.version == 4) else Reach.PUBLIC


def _reach_v6(address: ipaddress.IPv6Address) -> Reach:
    if address in _METADATA:
        return Reach.NEVER
    if any(address in network for network in _LOCAL if network.version == 6):
        return Reach.LOCAL
    if address not in _GLOBAL_V6 or any(address in network for network in _NEVER_V6):
        return Reach.NEVER
    return Reach.PUBLIC


def _hidden(address: ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    """IPv4 addresses to which an IPv6 one may lead: mapped, NAT64, 6to4, ISATAP (Teredo is refused as a whole)."""
    last = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address in _NAT64 or (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
        yield last
    if address.sixtofour is not None:
        yield address.sixtofour
