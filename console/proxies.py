"""The client's address and scheme behind proxies the operator trusts. From anyone else these headers are ignored.

The gate does not use this: only Traefik asks it, and `authsvc.gate.forwarded` reads what ForwardAuth wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from runtime.networks import Address, Network, read_address


class BehindProxies:
    """Set REMOTE_ADDR to the client's address, and let `request.is_secure()` follow the proxy in front of us.

    No header can produce the META name AUTHSVC_SCHEME, so SECURE_PROXY_SSL_HEADER cannot be forged.
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


def client_of(scope: Mapping[str, Any]) -> str:
    """The client's address by an ASGI scope, found as BehindProxies finds it."""
    trusted: Sequence[Network] = settings.TRUSTED_PROXIES
    text = str((scope.get("client") or ("",))[0])
    peer = _read(text)
    if peer is None or not _is_in(peer, trusted):
        return text
    headers = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return str(find_client(peer, ",".join(headers).split(","), trusted))


def find_client(peer: Address, hops: Sequence[str], trusted: Sequence[Network]) -> Address:
    """The last address that is not a trusted proxy's. Everything before it was written by the client.

    Each proxy appends its peer's address (X-Forwarded-For as Traefik writes it), so the walk goes from right to left
    and ends at the first untrusted address, or at something that is not an address.
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
