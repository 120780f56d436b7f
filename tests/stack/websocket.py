"""As much of RFC 6455 as the tests need: the handshake's digest, and short text frames."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
from dataclasses import dataclass

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_of(key):
    return base64.b64encode(hashlib.sha1(f"{key}{_MAGIC}".encode()).digest()).decode()


def send(stream, text, *, masked=False):
    """One text frame, of up to 65535 bytes; a client masks."""
    mask = os.urandom(4) if masked else b""
    body = bytes(byte ^ mask[i % 4] for i, byte in enumerate(text)) if masked else text
    stream.write(bytes((0x81, 126 | (0x80 if masked else 0))) + len(text).to_bytes(2, "big") + mask + body)
    stream.flush()


def receive(stream):
    """The next frame's bytes; None when the other side has gone."""
    head = stream.read(2)
    if len(head) < 2 or head[0] & 0x0F == 8:
        return None
    length = head[1] & 0x7F
    if length == 126:
        length = int.from_bytes(stream.read(2), "big")
    mask = stream.read(4) if head[1] & 0x80 else b"\0\0\0\0"
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(stream.read(length)))


@dataclass(frozen=True)
class Opened:
    """The result of a handshake, and what the model saw of it."""

    status: int
    headers: dict[str, str]
    seen: dict[str, str]
    echoed: bytes


def open_as_a_browser(port, target, protocols, *lines):
    """Offer subprotocols, send something, and fail as WHATWG's WebSocket does, which requires an answer with one of them."""
    nonce = base64.b64encode(os.urandom(16)).decode()
    head = [
        f"GET {target} HTTP/1.1",
        "Host: models.test",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {nonce}",
        *([f"Sec-WebSocket-Protocol: {', '.join(protocols)}"] if protocols else []),
        *lines,
        "",
        "",
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("\r\n".join(head).encode())
        with connection.makefile("rwb") as stream:
            status = int(stream.readline().split()[1])
            headers = {}
            while line := stream.readline().decode().strip():
                name, _, value = line.partition(": ")
                headers[name.lower()] = value
            if status != 101:
                return Opened(status, headers, {}, b"")
            assert headers["sec-websocket-accept"] == accept_of(nonce)
            if protocols:
                assert headers.get("sec-websocket-protocol") in protocols, "a browser ends this connection"
            seen = {name.lower(): value for name, value in json.loads(receive(stream))}
            send(stream, b"are you there?", masked=True)
            return Opened(status, headers, seen, receive(stream))
