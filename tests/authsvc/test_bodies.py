"""The limits on bodies, one at a time; tests/service/test_bodies.py tests them together in a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from api.base.resource import MOST_BODY_BYTES
from api.imports import ADMITTED
from authsvc import bodies
from authsvc.bodies import Body, Console, Refusal
from runtime.memory_files import memory_file
from runtime.networks import read_network
from tests.api.callers import program_of
from tests.gate.test_fronts import environment
from tests.servers import gunicorn

PART = b"x" * 250_000
LINES = b"name,key\n" + b"".join(b"%s,key-of-another-system-%08d\n" % (b"n" * 600, i) for i in range(900))  # 570 KB


def body_of(*parts: bytes, ends: bool = True) -> Body:
    """A body that arrives in these parts and then ends, or never ends."""
    left = list(parts)

    async def receive():
        if not left and not ends:
            await asyncio.Event().wait()
        part = left.pop(0) if left else b""
        return {"type": "http.request", "body": part, "more_body": bool(left) or not ends}

    return Body(receive, MOST_BODY_BYTES, BytesIO(), in_heap=True)


def read(body: Body) -> bytes:
    asyncio.run(body.read())
    return body.file.read()


@pytest.mark.parametrize("parts", [(), (b"",), (b"a", b"b"), (b"x" * MOST_BODY_BYTES,)])
def test_a_body_is_read_whole(parts):
    assert read(body_of(*parts)) == b"".join(parts)


def test_one_byte_too_many_is_refused():
    with pytest.raises(Refusal, match="longer than 256 KB") as refused:
        read(body_of(b"x" * MOST_BODY_BYTES, b"x"))
    assert refused.value.word == "too_large"


def test_a_stalled_body_is_eventually_refused(monkeypatch):
    monkeypatch.setattr(bodies, "FIRST_SECONDS", 0.01)
    with pytest.raises(Refusal) as refused:
        read(body_of(b"a", ends=False))
    assert refused.value.word == "too_slow"


def test_arriving_bytes_extend_the_deadline(monkeypatch):
    monkeypatch.setattr(bodies, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(bodies, "LEAST_RATE", 1000)

    async def slow_receive():
        await asyncio.sleep(0.03)
        return {"type": "http.request", "body": b"end"}

    parts = iter([b"x" * 60_000])

    async def receive():
        return (
            {"type": "http.request", "body": part, "more_body": True}
            if (part := next(parts, b""))
            else await slow_receive()
        )

    assert len(read(Body(receive, MOST_BODY_BYTES, BytesIO(), in_heap=True))) == 60_003


def test_a_client_that_disconnects_is_not_a_refusal():
    async def receive():
        return {"type": "http.disconnect"}

    with pytest.raises(RequestAborted):
        read(Body(receive, MOST_BODY_BYTES, BytesIO(), in_heap=True))
    assert (Body._held, Body._unfinished) == (0, {})


def test_when_too_many_bodies_are_unfinished_the_oldest_are_dropped():
    async def attack() -> list[str]:
        waiting = [asyncio.create_task(body_of(PART, ends=False).read()) for _ in range(200)]
        while Body._held > bodies.MOST_UNFINISHED_BYTES or len(Body._unfinished) == 200 or not Body._held:  # noqa: ASYNC110 - turns of the loop
            await asyncio.sleep(0)
        honest = body_of(PART)
        await honest.read()
        ended = ["given up" if task.done() else "open" for task in waiting]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return ended

    ended = asyncio.run(asyncio.wait_for(attack(), 30))
    room = bodies.MOST_UNFINISHED_BYTES // len(PART)
    assert ended.count("open") in (room - 1, room)
    assert ended == sorted(ended)  # given up ones before open ones, the oldest first
    assert (Body._held, Body._unfinished) == (0, {})


def test_a_memory_file_frees_all_its_memory():
    def resident() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])

    before = resident()
    for _ in range(5):
        with memory_file() as file:
            for _ in range(80):
                file.write(PART)
            file.seek(0)
            assert len(file.readline(1000)) == 1000
    assert resident() - before < 5_000


# In front of Django


class Asked(Console):
    """Notes the requests that reach Django, and how long their bodies are."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[ASGIRequest] = []

    async def get_response_async(self, request: HttpRequest) -> HttpResponse:
        assert isinstance(request, ASGIRequest)
        self.requests.append(request)
        return HttpResponse(b"read %d" % len(request.read()))


def asked(console: Console, path: str, body: bytes, *headers: tuple[bytes, bytes]) -> tuple[int, bytes, set[bytes]]:
    """The status, the body, and how the answer says that the connection ends."""
    sent: list[Mapping[str, Any]] = []
    parts = [body]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *headers],
        "client": ("10.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }

    async def receive():
        if not parts:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": parts.pop(), "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(console(scope, receive, send))
    told = dict(sent[0]["headers"])
    return (
        sent[0]["status"],
        b"".join(message.get("body", b"") for message in sent),
        {told[name] for name in (b"connection",) if name in told},
    )


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % size


CHUNKED = (b"transfer-encoding", b"chunked")
UPLOAD = "/api/v1/imports/"


def test_a_body_may_have_the_longest_length_and_not_a_byte_more():
    console = Asked()
    status, read, _ = asked(console, "/login/", b"x" * MOST_BODY_BYTES, length(MOST_BODY_BYTES))
    assert (status, read) == (200, b"read %d" % MOST_BODY_BYTES)
    status, _, ends = asked(console, "/login/", b"", length(MOST_BODY_BYTES + 1))
    assert (status, ends, len(console.requests)) == (413, {b"close"}, 1)


@pytest.mark.parametrize(
    ("header", "is_asked_first"),
    [(length(MOST_BODY_BYTES), False), (length(MOST_BODY_BYTES + 1), True), (CHUNKED, True)],
    ids=["short", "long", "chunked"],
)
def test_who_sends_an_upload_is_asked_before_a_body_that_may_be_long(monkeypatch, header, is_asked_first):
    monkeypatch.setattr(bodies, "_refusal_before", lambda _: HttpResponse(status=403))
    assert asked(Asked(), UPLOAD, LINES[:100], header)[0] == (403 if is_asked_first else 200)


def test_an_upload_that_was_admitted_is_not_admitted_again(monkeypatch):
    monkeypatch.setattr(bodies, "_refusal_before", lambda _: None)
    console = Asked()
    assert asked(console, UPLOAD, LINES, CHUNKED)[:2] == (200, b"read %d" % len(LINES))
    assert console.requests[0].scope[ADMITTED]
    assert console._uploads == 0


def test_no_process_takes_more_uploads_at_a_time_than_it_may(monkeypatch):
    monkeypatch.setattr(bodies, "_refusal_before", lambda _: None)
    console = Asked()
    console._uploads = bodies.MOST_UPLOADS
    assert asked(console, UPLOAD, LINES, CHUNKED)[0] == 503
    console._uploads -= 1
    assert asked(console, UPLOAD, LINES, CHUNKED)[0] == 200


@pytest.mark.django_db(transaction=True)
def test_who_sends_an_upload_is_asked_with_the_clients_address(monkeypatch, settings):
    settings.TRUSTED_PROXIES = (read_network("10.0.0.0/8"),)
    seen = []

    def refuse(request: HttpRequest) -> HttpResponse:
        seen.append(request.META["REMOTE_ADDR"])
        return HttpResponse(status=403)

    monkeypatch.setattr(bodies, "refusal_of", refuse)
    assert asked(Asked(), UPLOAD, LINES, CHUNKED, (b"x-forwarded-for", b"203.0.113.7"))[0] == 403
    assert seen == ["203.0.113.7"]


# Without ASGI


def without_a_length(size: int, *, ends: bool = True) -> WSGIRequest:
    """A chunked request, from a server that ends its stream with the body, or from one that does not."""
    environ = {"wsgi.input": BytesIO(b"x" * size), "wsgi.input_terminated": ends, "CONTENT_LENGTH": ""}
    request = RequestFactory().post("/login/", content_type="application/json", HTTP_TRANSFER_ENCODING="chunked")
    return WSGIRequest({**request.environ, **environ})


def test_without_a_length_a_body_is_read_up_to_the_longest():
    request = without_a_length(MOST_BODY_BYTES)
    bodies._bound(request, MOST_BODY_BYTES)
    assert len(request.read()) == MOST_BODY_BYTES and request.META["CONTENT_LENGTH"] == str(MOST_BODY_BYTES)
    with pytest.raises(Refusal, match="longer than 256 KB"):
        bodies._bound(without_a_length(MOST_BODY_BYTES + 1), MOST_BODY_BYTES)


def test_a_stream_that_may_not_end_is_not_read():
    """Reading on would wait for a client that has sent everything."""
    request = without_a_length(10, ends=False)
    bodies._bound(request, MOST_BODY_BYTES)
    assert request.environ["wsgi.input"].tell() == 0


@pytest.mark.parametrize(
    ("path", "kind"), [("/login/", "text/plain; charset=utf-8"), ("/api/v1/keys/", "application/problem+json")]
)
def test_django_alone_refuses_a_long_body_by_its_length(client: Client, path, kind):
    response = client.post(path, b"x" * (MOST_BODY_BYTES + 1), content_type="application/json")
    assert (response.status_code, response["Content-Type"]) == (413, kind)


@pytest.mark.django_db(transaction=True)
def test_django_alone_takes_a_large_upload(account, settings):
    settings.IMPORTED_KEYS = True
    response = program_of(account, "keys:write").post("/api/v1/imports/", LINES, content_type="text/csv")
    assert (response.status_code, response.json()["lines"]) == (202, 900)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_wsgi_under_gunicorn_bounds_bodies_with_and_without_a_length(account, redis_socket, tmp_path):
    from tests.service.conftest import by_management_key

    program = by_management_key(account)
    with gunicorn("authsvc.wsgi:application", tmp_path, env=environment() | {"AUTHSVC_IMPORTED_KEYS": "1"}) as (
        port,
        _,
    ):
        where = f"http://127.0.0.1:{port}"
        long = b"x" * (MOST_BODY_BYTES + 1)
        for path in ("/login/", "/api/v1/keys/"):
            for data in (long, iter([long])):
                assert program.post(f"{where}{path}", data=data, timeout=30).status_code == 413
        answer = program.post(
            f"{where}/api/v1/keys/",
            data=iter([b'{"name":', b'"one"}']),
            timeout=30,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code in (201, 202) and answer.json()["name"] == "one"
        for data in (LINES, iter([LINES])):
            answer = program.post(
                f"{where}/api/v1/imports/", data=data, headers={"Content-Type": "text/csv"}, timeout=60
            )
            assert (answer.status_code, answer.json()["lines"]) == (202, 900)
        assert requests.post(f"{where}/api/v1/imports/", data=iter([LINES]), timeout=30).status_code == 401
