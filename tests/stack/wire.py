"""Requests as raw bytes, because a client library would normalise them, and their answers."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.events


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def __getitem__(self, name):
        """The value of a header that occurs once."""
        (value,) = self.all(name)
        return value

    def __contains__(self, name):
        return bool(self.all(name))

    def json(self):
        return json.loads(self.body)


class Refused(Exception):
    """The connection ended without an answer."""


def request(target, *lines, method="GET", body=b""):
    """One request; each line is a header, sent as written."""
    length = [f"Content-Length: {len(body)}"] if body else []
    head = [f"{method} {target} HTTP/1.1", "Host: models.test", *lines, *length, "", ""]
    return "\r\n".join(head).encode("utf-8", "surrogateescape") + body


def ask(port, target, *lines, method="GET", body=b""):
    """The answer to one request on its own connection."""
    return exchange(port, request(target, *lines, method=method, body=body), method)[0]


def exchange(port, sent, *methods):
    """The answers to everything sent at once, one per method."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        with connection.makefile("rb") as stream:
            return [_answer(stream, method) for method in methods or ("GET",)]


def _answer(stream, method):
    line = stream.readline()
    if not line:
        raise Refused
    status, headers = int(line.split()[1]), tuple(_headers(stream))
    answer = Answer(status, headers, b"")
    return Answer(status, headers, b"" if method == "HEAD" or status in (101, 204, 304) else _body(stream, answer))


def _headers(stream):
    while (line := stream.readline().decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = line.partition(":")
        yield name, value.strip()


def _body(stream, answer):
    if "Content-Length" in answer:
        return stream.read(int(answer["Content-Length"]))
    if "Transfer-Encoding" in answer:
        return b"".join(_chunks(stream))
    return stream.read()


def _chunks(stream):
    while size := int(stream.readline(), 16):
        yield stream.read(size)
        stream.readline()
    stream.readline()


def ask_h2(port, target, *headers, method="GET"):
    """The same over HTTP/2 without TLS; the library's checks are disabled."""
    lax = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    talk = h2.connection.H2Connection(lax)
    talk.initiate_connection()
    fixed = [(":method", method), (":scheme", "http"), (":authority", "models.test"), (":path", target)]
    talk.send_headers(1, [*fixed, *headers], end_stream=True)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(talk.data_to_send())
        return _h2_answer(connection, talk)


def _h2_answer(connection, talk):
    headers, body = {}, b""
    while received := connection.recv(65536):
        for event in talk.receive_data(received):
            match event:
                case h2.events.ResponseReceived():
                    headers = {name.decode(): value.decode() for name, value in event.headers}
                case h2.events.DataReceived():
                    body += event.data
                case h2.events.StreamEnded():
                    return Answer(int(headers.pop(":status")), tuple(headers.items()), body)
                case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                    raise Refused
        connection.sendall(talk.data_to_send())
    raise Refused
