"""Bodies from honest clients and others: in chunks, far too long, endless, many at once."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from accounts.models import ApiKey, ImportJob
from store.throttles import IMPORTS
from tests.authsvc.test_bodies import LINES
from tests.gate.test_fronts import environment
from tests.servers import gunicorn, wait_until
from tests.service.conftest import by_management_key, by_session

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

MEGABYTE = b" " * 1024 * 1024
UPLOAD = "/api/v1/imports/"


def in_pieces(*pieces: bytes) -> Iterator[bytes]:
    yield from pieces


def test_a_body_in_chunks_is_read_like_any_other(service, account, issued):
    program = by_management_key(account)
    headers = {"Content-Type": "application/json"}
    address = f"{service}/api/v1/keys/{issued.key.public_id}/"
    answer = program.patch(address, data=in_pieces(b'{"name":', b'"second"}'), headers=headers, timeout=20)
    assert (answer.status_code, answer.json()["name"]) == (200, "second")
    assert ApiKey.objects.get().name == "second"
    file = in_pieces(b"name,key\n", b"one,an-old-key-of-another-system\n")
    answer = program.post(f"{service}{UPLOAD}", data=file, headers={"Content-Type": "text/csv"}, timeout=20)
    assert (answer.status_code, answer.json().get("lines")) == (202, 1)


@pytest.mark.parametrize("caller", [by_management_key, by_session])
def test_a_large_upload_is_accepted_from_callers_who_may_upload(service, account, caller):
    headers = {"Content-Type": "text/csv"}
    for data in (LINES, in_pieces(LINES[:300_000], LINES[300_000:])):
        answer = caller(account).post(f"{service}{UPLOAD}", data=data, headers=headers, timeout=60)
        assert (answer.status_code, answer.json().get("lines")) == (202, 900), answer.text
        caller = by_management_key  # user names are unique
    answer = caller(account).post(f"{service}{UPLOAD}", files={"file": ("k.csv", LINES)}, timeout=60)
    assert (answer.status_code, answer.json().get("lines")) == (202, 900), answer.text


def test_an_upload_counts_once_and_one_too_many_is_refused_before_its_body(service, account, redis_db):
    program = by_management_key(account)
    headers = {"Content-Type": "text/csv"}
    for _ in range(IMPORTS.calls):
        program.post(f"{service}{UPLOAD}", data=b"nothing", headers=headers, timeout=20)
    with talking(service) as client:
        client.sendall(head(UPLOAD, 1_000_000, program.headers["Authorization"]))
        assert b"HTTP/1.1 429" in answer_of(client)
    redis_db.flushdb()
    assert program.post(f"{service}{UPLOAD}", data=LINES, headers=headers, timeout=60).status_code == 202
    (left,) = [redis_db.get(name) for name in redis_db.keys("authsvc:throttle:imports:*")]
    now_s, now_us = redis_db.time()
    assert int(left) - (now_s * 1_000_000 + now_us) < 1.5 * IMPORTS.seconds / IMPORTS.calls * 1_000_000  # one call


@pytest.mark.parametrize("megabytes", [21, 2000])
@pytest.mark.parametrize("path", ["/api/v1/keys/", "/login/", UPLOAD])
def test_an_endless_body_is_refused_before_it_is_stored(service, account, path, megabytes):
    sent = []

    def pieces() -> Iterator[bytes]:
        for _ in range(megabytes):
            sent.append(1)
            yield MEGABYTE

    try:
        headers = {"Content-Type": "text/csv"}
        status = (
            by_management_key(account).post(f"{service}{path}", data=pieces(), headers=headers, timeout=60).status_code
        )
    except requests.ConnectionError:  # closed while the client was still sending
        status = 413
    assert status == 413
    assert len(sent) < 100


# Our own client, for what requests does not show.


@contextmanager
def talking(service: str) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", int(service.rpartition(":")[2])), timeout=20) as client:
        yield client


def head(path: str, length: int | None, credential: str = "", *more: str) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", size, "Content-Type: text/csv", *more]
    if credential:
        lines.append(f"Authorization: {credential}")
    return "\r\n".join([*lines, "", ""]).encode()


def answer_of(client: socket.socket) -> bytes:
    """Everything until the server closes."""
    received = b""
    while part := client.recv(65_536):
        received += part
    return received


def told(answer: bytes) -> tuple[int, dict[str, str], str]:
    start, _, body = answer.partition(b"\r\n\r\n")
    line, *lines = start.decode().split("\r\n")
    return int(line.split()[1]), dict(each.lower().split(": ", 1) for each in lines), body.decode()


CHUNK = b"%x\r\n%b\r\n" % (len(MEGABYTE) // 2, MEGABYTE[: len(MEGABYTE) // 2])


@pytest.mark.parametrize(
    "opening",
    [
        (262_145, b""),  # none of it was sent
        (19_000_000, b"half of it"),
        (None, CHUNK),
        (262_145, b"Expect: 100-continue"),
    ],
)
@pytest.mark.parametrize("path", ["/login/", "/admin/login/", "/api/v1/keys/", "/api/v1/accounts/"])
def test_a_body_that_is_too_long_is_413_without_waiting_for_the_rest(service, catalogue, path, opening):
    length, sent = opening
    with talking(service) as client:
        if sent.startswith(b"Expect"):
            client.sendall(head(path, length, "", sent.decode()))
        else:
            client.sendall(head(path, length) + sent)
        client.shutdown(socket.SHUT_WR)
        status, headers, body = told(answer_of(client))
    assert (status, headers["connection"], headers["cache-control"]) == (413, "close", "no-store")
    if path.startswith("/api/"):
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body) | {"type": ""} == {
            "type": "",
            "title": "Content Too Large",
            "status": 413,
            "detail": "The body is longer than 256 KB.",
        }
        assert json.loads(body)["type"].endswith("/errors/too_large")
    else:
        assert (headers["content-type"], body) == (
            "text/plain; charset=utf-8",
            "413 Content Too Large\nThe body is longer than 256 KB.\n",
        )


@pytest.mark.parametrize(
    ("credential", "status"), [("", 401), ("Bearer ask_mgmt_nonsense", 401), ("keys:read", 403), ("keys:write", 100)]
)
@pytest.mark.parametrize("length", [19_000_000, None])
def test_an_uploads_credential_is_checked_before_its_body(service, account, credential, status, length):
    if ":" in credential:
        credential = str(by_management_key(account, credential).headers["Authorization"])
    with talking(service) as client:
        client.sendall(head(UPLOAD, length, credential, "Expect: 100-continue"))
        answer = client.recv(65_536)
        assert told(answer)[0] == status
        if status != 100:
            assert "www-authenticate" in told(answer)[1]
            assert told(answer)[1]["connection"] == "close"


def test_a_session_needs_its_csrf_token_before_an_upload(service, account):
    browser = by_session(account)
    for token, status in (("", 403), (str(browser.headers["X-CSRFToken"]), 100)):
        with talking(service) as client:
            cookie = f"Cookie: {browser.headers['Cookie']!s}"
            client.sendall(head(UPLOAD, 1_000_000, "", cookie, f"X-CSRFToken: {token}", "Expect: 100-continue"))
            assert told(client.recv(65_536))[0] == status


# Under attack


@pytest.fixture(scope="module")
def console(django_db_setup, redis_socket, tmp_path_factory) -> Iterator[tuple[str, int]]:
    """A console of one process with short timeouts: its address and its process."""
    env = environment() | {
        "WEB_CONCURRENCY": "1",
        "AUTHSVC_DRAIN": "0",
        "AUTHSVC_SERVES": "console",
        "AUTHSVC_IMPORTED_KEYS": "1",
    }
    directory = tmp_path_factory.mktemp("console")
    with gunicorn("tests.hasty_console:application", directory, "-c", "deploy/gunicorn.conf.py", env=env) as (
        port,
        master,
    ):
        where = f"http://127.0.0.1:{port}"
        for _ in range(5):
            requests.get(f"{where}/login/", timeout=60)
        (worker,) = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()
        yield where, int(worker)


def megabytes_of(process: int) -> float:
    """Its resident memory."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024


@pytest.mark.parametrize("path", ["/login/", UPLOAD])
@pytest.mark.parametrize("chunked", [False, True])
def test_unfinished_posts_of_strangers_cost_no_memory(console, catalogue, path, chunked):
    where, worker = console
    before, most = megabytes_of(worker), 0.0
    body = b"".join([CHUNK] * 38) if chunked else MEGABYTE * 19
    with ExitStack() as stack:
        clients = [stack.enter_context(talking(where)) for _ in range(15)]
        for client in clients:
            client.settimeout(5)
            try:
                client.sendall(head(path, None if chunked else 20_000_000) + body)
            except OSError:  # it stopped listening
                pass
            most = max(most, megabytes_of(worker))
        after = megabytes_of(worker)
    assert most - before < 50 and after - before < 50, (before, most, after)


def test_the_memory_of_an_upload_is_given_back(console, account):
    where, worker = console
    program = by_management_key(account)
    lines = b"name,key\n" + b"x" * 100 + b"\n" * 19_000_000  # blank lines cost nothing but their bytes
    before = megabytes_of(worker)
    for data in (lines, in_pieces(lines[:9_000_000], lines[9_000_000:])):
        answer = program.post(f"{where}{UPLOAD}", data=data, headers={"Content-Type": "text/csv"}, timeout=120)
        assert answer.status_code in (202, 400), answer.text
    assert megabytes_of(worker) - before < 50
    assert ImportJob.objects.count() <= 2


def test_a_body_that_does_not_come_is_408_and_the_connection_closed(console, catalogue):
    where, _ = console
    for path, kind in (("/login/", "text/plain; charset=utf-8"), ("/api/v1/keys/", "application/problem+json")):
        with talking(where) as client:
            client.sendall(head(path, 1000) + b"only this")
            status, headers, body = told(answer_of(client))
        assert (status, headers["connection"], headers["content-type"]) == (408, "close", kind)
        assert "did not arrive in time" in body


def test_a_trickle_does_not_keep_a_body_alive(console, catalogue):
    where, _ = console
    with talking(where) as client:
        client.sendall(head("/login/", 200_000))
        client.settimeout(0.05)
        received: list[bytes] = []

        def is_answered() -> bool:
            try:
                client.sendall(b"x")
                received.append(client.recv(65_536))
            except TimeoutError:
                return False
            return True

        wait_until(is_answered, "an answer to a body that comes in drops")
    assert told(received[0])[0] == 408


def test_only_so_many_uploads_are_received_at_a_time(console, account):
    where, _ = console
    credential = str(by_management_key(account).headers["Authorization"])
    with talking(where) as first, talking(where) as second, talking(where) as third:
        for client in (first, second, third):
            client.sendall(head(UPLOAD, 1_000_000, credential, "Expect: 100-continue"))
            if client is not third:
                assert told(client.recv(65_536))[0] == 100
        status, headers, body = told(answer_of(third))
        assert (status, headers["retry-after"], headers["connection"]) == (503, "5", "close")
        assert json.loads(body)["type"].endswith("/errors/unavailable")
        answer_of(first)  # given up, so there is room again
        answer_of(second)
    with talking(where) as fourth:
        fourth.sendall(head(UPLOAD, 1_000_000, credential, "Expect: 100-continue"))
        assert told(fourth.recv(65_536))[0] == 100
