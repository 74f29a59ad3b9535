"""Which IP addresses are public. Everything a request could be smuggled to inside a network is not.

The test is a list of what is forbidden, written out from the IANA registries of special-purpose addresses
(https://www.iana.org/assignments/iana-ipv4-special-registry, .../iana-ipv6-special-registry), because the answer of
Python's `is_global` differs between versions and knows neither tunnels nor clouds:

- IPv6 is public only inside 2000::/3, so loopback, link-local, unique-local, mapped (`::ffff:a.b.c.d`), IPv4-compatible
  and NAT64 (`64:ff9b::/96`) addresses all fall away at once;
- inside it, 6to4 and Teredo carry an IPv4 address of the sender's choice, and the rest of 2001::/23 serves protocols;
- 168.63.129.16 looks public, and is the platform's own server inside Azure. The other clouds' metadata servers stand in
  link-local, shared (100.64.0.0/10) or unique-local space, or in 192.0.0.0/24.
"""

from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_FORBIDDEN_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared, behind a carrier's NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local: the metadata servers of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "168.63.129.16/32",  # Azure's platform
    )
)
_PUBLIC_6 = IPv6Network("2000::/3")
_FORBIDDEN_6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


def is_public(address: str) -> bool:
    """Whether `address`, an IPv4 or IPv6 address as a resolver gives it, is public; False for what is no address."""
    try:
        four = IPv4Address(address)
    except AddressValueError:
        pass
    else:
        return not any(four in network for network in _FORBIDDEN_4)
    try:
        six = IPv6Address(address)
    except AddressValueError:
        return False
    if six.scope_id is not None or six not in _PUBLIC_6:
        return False
    return not any(six in network for network in _FORBIDDEN_6)


_HERE = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
"""Ends of names that no public name server has: RFC 6761, 6762 and 8375, ICANN's .internal, and what routers use."""


def at_home(host: str) -> bool:
    """Whether a host can only be a machine in one's own network: an address that is not public, a single word, or a
    name under one of `_HERE`. Of any other name it is not known whose it is."""
    host = host.lower().rstrip(".")
    try:
        ip_address(host)
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(_HERE))
    return not is_public(host)
