"""Addresses and networks in a single form, so that a client's address can be compared with a key's networks.

An IPv4 client may appear as `::ffff:203.0.113.5` if something on the way listens on IPv6. It is the same client.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.utils.translation import gettext_lazy

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def gettext_noop(words: str) -> str:
    """Mark words for translation. Django's own would load the settings, which need this module."""
    return words


HINT = gettext_lazy("Write an address or a network such as 203.0.113.0/24.")

# 203.0.113.5:1234 and [2001:db8::1]:1234, as Azure's gateways and some others write X-Forwarded-For.
_WITH_PORT = re.compile(r"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\]):[0-9]{1,5}", re.ASCII)
_IN_BRACKETS = re.compile(r"\[([0-9A-Fa-f:.]+)\]")

_MAPPED = IPv6Network("::ffff:0:0/96")
_COMPATIBLE = IPv6Network("::/96")  # IPv4-compatible addresses (RFC 2373), which nothing sends; includes ::1
_LOOPBACK = IPv6Address("::1")
_NOBODY_S = gettext_noop("%(text)s cannot match any client: it is not a client's address")
_MULTICAST = gettext_noop("%(text)s cannot match any client: it is for multicast, which no client sends from")
_BROADCAST = gettext_noop("%(text)s cannot match any client: it is for broadcast, which no client sends from")
_OF_NO_CLIENT = (  # addresses that no packet comes from
    (IPv4Network("0.0.0.0/8"), _NOBODY_S),
    (IPv4Network("224.0.0.0/4"), _MULTICAST),
    (IPv4Network("255.255.255.255/32"), _BROADCAST),
    (IPv6Network("::/128"), _NOBODY_S),
    (IPv6Network("ff00::/8"), _MULTICAST),
)


class NoNetwork(ValueError):
    """A text that names no network of clients. Settings say so in English, pages in their reader's language."""

    def __init__(self, words: str, text: str) -> None:
        super().__init__(words % {"text": text})
        self.words, self.text = words, text


def read_address(text: str) -> Address:
    """A client's address as a proxy writes it, optionally with a port. Raises ValueError."""
    found = _WITH_PORT.fullmatch(text) or _IN_BRACKETS.fullmatch(text)
    address = ip_address(text if found is None else found[found.lastindex or 0])
    if isinstance(address, IPv6Address):
        # A zone names an interface of the proxy and says nothing about the client.
        return address.ipv4_mapped or (IPv6Address(int(address)) if address.scope_id else address)
    return address


def read_network(text: str) -> Network:
    """A network as people write it. Raises NoNetwork, also for one that no client can be in."""
    text = text.strip()
    if "%" in text:
        words = gettext_noop(
            "%(text)s names a zone, which has no meaning on other machines: remove %% and what follows it"
        )
        raise NoNetwork(words, repr(text))
    network = _parsed(text)
    plain = plain_network(network)
    if isinstance(plain, IPv6Network):
        if plain.prefixlen and plain.overlaps(_MAPPED) and plain.network_address != IPv6Address("::"):
            words = gettext_noop("%(text)s covers more than IPv4-mapped addresses: write 0.0.0.0/0 for any IPv4 client")
            raise NoNetwork(words, repr(text))
        if plain.subnet_of(_COMPATIBLE) and _LOOPBACK not in plain and int(plain.network_address):
            words = gettext_noop("%(text)s cannot match any client: write the IPv4 address without ::")
            raise NoNetwork(words, repr(text))
    for other, words in _OF_NO_CLIENT:
        if plain.version == other.version and plain.subnet_of(other):  # type: ignore[arg-type]
            raise NoNetwork(words, repr(text))
    return plain


def _parsed(text: str) -> Network:
    """Like ip_network, in words that can be translated."""
    try:
        return ip_network(text)
    except ValueError as error:
        if "host bits" in str(error):
            raise NoNetwork(gettext_noop("%(text)s has host bits set"), text) from error
        words = gettext_noop("%(text)s does not appear to be an IPv4 or IPv6 network")
        raise NoNetwork(words, repr(text)) from error


def read_networks(texts: Iterable[str]) -> list[Network]:
    """Each network once, in the order given. Raises NoNetwork."""
    return list(dict.fromkeys(read_network(text) for text in texts))


def plain_network(network: Network) -> Network:
    """An IPv4-mapped IPv6 network as IPv4. Also used when reading stored networks."""
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def surroundings(text: str) -> str:
    """The network that an address shares with its neighbours: a /24, or a /64 of IPv6; "" for what is no address."""
    try:
        address = read_address(text)
    except ValueError:
        return ""
    return str(ip_network((address, 24 if address.version == 4 else 64), strict=False))
