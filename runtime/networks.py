"""Addresses and networks in the one form in which a client's and a key's can be compared.

An IPv4 client may come as `::ffff:203.0.113.5`, where something on the way listens on IPv6. It is the same client.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

HINT = "Write an address or a network such as 203.0.113.0/24."

# 203.0.113.5:1234 and [2001:db8::1]:1234, as Azure's gateways and some others write X-Forwarded-For.
_WITH_PORT = re.compile(r"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\]):[0-9]{1,5}", re.ASCII)
_IN_BRACKETS = re.compile(r"\[([0-9A-Fa-f:.]+)\]")

_MAPPED = IPv6Network("::ffff:0:0/96")
_COMPATIBLE = IPv6Network("::/96")  # IPv4 the way of RFC 2373, which nothing sends; ::1 is in it, too
_LOOPBACK = IPv6Address("::1")
_OF_NO_CLIENT = (  # what no packet comes from
    (IPv4Network("0.0.0.0/8"), "is no client's address"),
    (IPv4Network("224.0.0.0/4"), "is for multicast, which no client sends from"),
    (IPv4Network("255.255.255.255/32"), "is for broadcast, which no client sends from"),
    (IPv6Network("::/128"), "is no client's address"),
    (IPv6Network("ff00::/8"), "is for multicast, which no client sends from"),
)


def read_address(text: str) -> Address:
    """A client's address as a proxy writes it, perhaps with the port. Raises ValueError."""
    found = _WITH_PORT.fullmatch(text) or _IN_BRACKETS.fullmatch(text)
    address = ip_address(text if found is None else found[found.lastindex or 0])
    if isinstance(address, IPv6Address):
        # A zone is a name of the proxy's own interface: it says nothing about the client.
        return address.ipv4_mapped or (IPv6Address(int(address)) if address.scope_id else address)
    return address


def read_network(text: str) -> Network:
    """A network as people write it. Raises ValueError for one that no client could ever be in."""
    text = text.strip()
    if "%" in text:
        raise ValueError(f"{text!r} names a zone, which means nothing to other machines: leave out % and what follows")
    network = ip_network(text)
    plain = plain_network(network)
    if isinstance(plain, IPv6Network):
        if plain.prefixlen and plain.overlaps(_MAPPED) and plain.network_address != IPv6Address("::"):
            raise ValueError(f"{text!r} is wider than all IPv4-mapped addresses: write 0.0.0.0/0 for any IPv4 client")
        if plain.subnet_of(_COMPATIBLE) and _LOOPBACK not in plain and int(plain.network_address):
            raise ValueError(f"{text!r} can match no client: write IPv4 as it is, without ::")
    for other, why in _OF_NO_CLIENT:
        if plain.version == other.version and plain.subnet_of(other):  # type: ignore[arg-type]
            raise ValueError(f"{text!r} can match no client: it {why}")
    return plain


def read_networks(texts: Iterable[str]) -> list[Network]:
    """Each once, in the order in which they were written. Raises ValueError."""
    return list(dict.fromkeys(read_network(text) for text in texts))


def plain_network(network: Network) -> Network:
    """IPv4 written as IPv6 is IPv4. What was stored before this was known is read by this, too."""
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network
