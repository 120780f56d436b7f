"""Several requests, other protocols, and answers in pieces."""

from __future__ import annotations

import http.client
import json
import socket
import time

import httpx
import pytest

from tests.stack import wire
from tests.stack.wire import exchange, request


def statuses(answers):
    return [answer.status for answer in answers]


def test_pipelined_requests_are_asked_about_one_by_one(client):
    good, bad = client.bearer("echo"), client.bearer("revoked")
    sent = (
        request("/echo/1", good)
        + request("/echo/2")
        + request("/echo2/3", good)
        + request("/echo/4", bad)
        + request("/echo/5", good)
    )
    answers = exchange(client.port, sent, *["GET"] * 5)
    assert statuses(answers) == [200, 401, 403, 401, 200]
    assert [answers[number].json()["target"] for number in (0, 4)] == ["/echo/1", "/echo/5"]


def test_a_request_hidden_in_a_body_is_a_body(client):
    hidden = request("/echo2/", client.bearer("all"))
    (answer,) = exchange(client.port, request("/echo/", client.bearer("echo"), method="POST", body=hidden), "POST")
    assert answer["X-Served-By"] == "echo"
    assert answer.json()["body"] == hidden.decode()


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding : chunked",),
        ("Transfer-Encoding: \x0bchunked",),
        ("Content-Length: +5",),
    ],
)
def test_a_body_of_two_lengths_smuggles_nothing(client, lines):
    smuggled = b"0\r\n\r\n" + request("/echo2/smuggled", client.bearer("echo"), "Connection: close")
    head = request("/echo/", client.bearer("echo"), *lines, method="POST")
    with socket.create_connection(("127.0.0.1", client.port), timeout=3) as connection:
        connection.sendall(head + smuggled)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ", b"HTTP/1.1 200 "))
    assert b"X-Served-By: echo2" not in received
    if received.startswith(
        b"HTTP/1.1 200 "
    ):  # both sides agreed on chunks, so the gate was asked about the second request too
        assert b"HTTP/1.1 403 " in received


def test_a_websocket_handshake_needs_a_key_too(client):
    handshake = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    assert client.ask("/echo/ws", *handshake).status == 401
    assert client.ask("/echo/ws", *handshake, key="revoked").status == 401
    assert client.ask("/echo2/ws", *handshake, key="echo").status == 403
    answer = client.ask("/echo/ws", *handshake, key="echo")
    assert (answer.status, answer["Sec-Websocket-Accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")


def test_http2_is_answered_like_http1(client):
    with httpx.Client(base_url=f"http://127.0.0.1:{client.port}", http1=False, http2=True) as http2:
        assert http2.get("/echo/").status_code == 401
        bearer = {"Authorization": f"Bearer {client.keys['echo']}"}
        answer = http2.get("/echo/", headers=bearer)
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
        assert "authorization" not in {name.lower() for name, _ in answer.json()["headers"]}
        refused = http2.get("/echo2/", headers=bearer)
        assert refused.status_code == 403
        assert 'scope="model:echo2"' in refused.headers["www-authenticate"]


@pytest.mark.parametrize(
    "headers",
    [
        [("x-forwarded-uri", "/echo/"), ("x-forwarded-method", "OPTIONS")],
        [("script_name", "/auth")],
        [("x_forwarded_uri", "/echo/")],
        [("connection", "authorization")],
        [("transfer-encoding", "chunked")],
        [("host", "other")],
        [(":path", "/echo/")],
        [("X-Auth-Account", "forged")],
    ],
)
def test_http2_forges_nothing_either(client, headers):
    for key in (None, "echo"):
        try:
            answer = client.ask_h2("/echo2/", *headers, key=key)
        except wire.Refused:
            continue
        assert answer.status in (400, 401, 403)
        assert "X-Served-By" not in answer


def test_an_event_reaches_the_client_before_the_next_is_made(client):
    stream = http.client.HTTPConnection("127.0.0.1", client.port, timeout=10)
    stream.request("GET", "/echo/events", headers={"Authorization": f"Bearer {client.keys['echo']}"})
    events = stream.getresponse()
    assert events.readline() == b"data: first\n"
    assert client.ask("/echo/release", key="echo").status == 200
    assert events.read() == b"\ndata: second\n\n"
    stream.close()


@pytest.mark.timed
def test_a_models_sentences_arrive_while_it_still_reads(client):
    text = "Ada Lovelace met Charles Babbage in London. " * 100
    headers = {"Authorization": f"Bearer {client.keys['all']}"}
    url, began = f"http://127.0.0.1:{client.port}/en_core_web_sm/sentences/stream", time.monotonic()
    with httpx.stream("POST", url, json={"text": text}, headers=headers, timeout=30) as answer:
        arrived = [time.monotonic() - began for line in answer.iter_lines() if line.startswith("event: ")]
    assert len(arrived) == 101
    assert arrived[-1] - arrived[0] > arrived[-1] / 4  # if held back, they would all arrive at the end


def test_the_sample_model_tells_the_client_what_is_left(client):
    answer = client.ask("/en_core_web_sm/", key="all")
    assert answer["RateLimit-Policy"] == '"second";q=10000;w=1'
    assert answer["RateLimit"].startswith('"second";r=')
    assert len(answer["X-Request-Id"]) > 8
    assert json.loads(answer.body)["name"] == "en_core_web_sm"
