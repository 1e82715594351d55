from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.agents.web.addresses import Reach, reach_of


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001:80b::200e", "64:ff9b::101:101", "2002:101:101::1"],
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert reach_of(address) is Reach.PUBLIC


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.10", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "::1",
        "fd12:3456::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::",
        "2002:c0a8:101::1", "2600::5efe:10.0.0.1", "2600::200:5efe:192.168.0.1",
    ],
)  # fmt: skip
def test_this_machine_and_private_networks_are_local_in_every_form(address: str) -> None:
    assert reach_of(address) is Reach.LOCAL


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "169.254.1.1", "0.0.0.0",
        "0.1.2.3", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "192.88.99.1",
        "::", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1", "2001::1", "2001:10::1",
        "64:ff9b:1::1", "100::1", "5f00::1", "::127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1", "2600::5efe:169.254.169.254", "::ffff:0.0.0.0", "example.com", "", "1.2.3", "0x7f000001",
    ],
)  # fmt: skip
def test_metadata_link_local_reserved_and_unreadable_addresses_are_never_reached(address: str) -> None:
    assert reach_of(address) is Reach.NEVER


@given(st.ip_addresses(v=4))
def test_what_is_not_global_is_never_public(address: ipaddress.IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert reach_of(str(address)) is not Reach.PUBLIC


@given(st.ip_addresses(v=4))
def test_an_address_within_another_is_never_further_away_than_itself(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    order = list(Reach).index
    for form in (number | 0xFFFF << 32, (0x64FF9B << 96) | number, (0x2002 << 112) | (number << 80)):
        assert order(reach_of(str(ipaddress.IPv6Address(form)))) >= order(reach_of(str(address)))


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_is_public_only_where_it_is_global(address: ipaddress.IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_link_local or address.is_site_local:
        # of Pythons some say of 6to4 that it is global, some not: there the address within it counts
        mapped = address.ipv4_mapped or address.sixtofour or address in ipaddress.IPv6Network("64:ff9b::/96")
        assert mapped or reach_of(str(address)) is not Reach.PUBLIC
