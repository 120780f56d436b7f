"""The client's address and scheme behind proxies that the operator trusts; from anybody else the headers are words.

The gate takes no part in this: Traefik alone asks it, and `authsvc.gate.forwarded` reads what ForwardAuth wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from runtime.networks import Address, Network, read_address


class BehindProxies:
    """REMOTE_ADDR becomes the client's, and `request.is_secure()` what the proxy in front of us says.

    AUTHSVC_SCHEME is a name in META that no header can have, so SECURE_PROXY_SSL_HEADER cannot be forged.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        trusted: Sequence[Network] = settings.TRUSTED_PROXIES
        peer = _read(str(request.META.get("REMOTE_ADDR", "")))
        if peer is not None and _is_in(peer, trusted):
            hops = str(request.META.get("HTTP_X_FORWARDED_FOR", "")).split(",")
            request.META["REMOTE_ADDR"] = str(find_client(peer, hops, trusted))
            request.META["AUTHSVC_SCHEME"] = str(request.META.get("HTTP_X_FORWARDED_PROTO", "")).strip().lower()
        return self._get_response(request)


def find_client(peer: Address, hops: Sequence[str], trusted: Sequence[Network]) -> Address:
    """The last address that no trusted proxy has. What stands before it is what the client wrote itself.

    Each proxy adds the address of its own peer at the end (X-Forwarded-For as Traefik writes it), so the walk is from
    the right and ends at the first stranger, or at something that is no address.
    """
    client = peer
    for hop in reversed(hops):
        if not _is_in(client, trusted):
            break
        before = _read(hop)
        if before is None:
            break
        client = before
    return client


def _read(text: str) -> Address | None:
    try:
        return read_address(text.strip())
    except ValueError:
        return None


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
