"""Requests that the protocol answers directly: they look like those that go through the application."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.config import Config
from uvicorn.protocols.utils import get_remote_addr

from runtime import protocol
from runtime.protocol import LONGEST_URL, OFFER, DirectAnswers, GateProtocol, State, query_at

QUIET: dict[str, Any] = {"log_config": None, "access_log": False, "proxy_headers": False}
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"
DIRECTLY, BY_APPLICATION = b"x-by: offer\r\n", b"x-by: application\r\n"


class Served:
    """A connection to a protocol on this loop, and what was asked there."""

    def __init__(self, **offered) -> None:
        self.direct: list[tuple[bytes, list[tuple[bytes, bytes]]]] = []
        self.by_application: list[tuple[bytes, list[tuple[bytes, bytes]]]] = []
        self.scopes: list[dict[str, Any]] = []
        self.held: list[Callable[[], None]] = []
        self.holds = False
        self.state, self.offered = State(), offered

    async def __aenter__(self):
        ours, self.client = socket.socketpair()
        self.client.setblocking(False)
        config = Config(self.application, http=GateProtocol, lifespan="off", interface="asgi3", **QUIET)
        config.load()
        self.offer = {OFFER: DirectAnswers(b"/auth/", self.answer)}
        self.protocol = GateProtocol(config=config, server_state=self.state, app_state=self.offer)
        self.loop = asyncio.get_running_loop()
        await self.loop.connect_accepted_socket(lambda: self.protocol, ours)
        return self

    async def __aexit__(self, *_):
        self.protocol.transport.abort()
        self.client.close()
        await asyncio.sleep(0)

    def answer(self, query, headers, then):
        self.direct.append((query, headers))
        if self.holds:
            self.held.append(lambda: then(OK + DIRECTLY + b"x-query: %b\r\n" % query, b""))
        else:
            then(OK + DIRECTLY + b"x-query: %b\r\n" % query, b"")

    async def application(self, scope, receive, send):
        self.scopes.append(scope)
        self.by_application.append((scope["path"].encode() + b"?" + scope["query_string"], scope["headers"]))
        headers = [(b"content-length", b"0"), (b"x-by", b"application"), (b"x-query", scope["query_string"])]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def send(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.client, data)

    async def read(self, answers: int = 1) -> bytes:
        """That many answers, which have no bodies."""
        data = b""
        while data.count(b"\r\n\r\n") < answers:
            more = await asyncio.wait_for(self.loop.sock_recv(self.client, 1_000_000), 20)
            if not more:
                break
            data += more
        return data

    async def ask(self, data: bytes, answers: int = 1) -> bytes:
        await self.send(data)
        return await self.read(answers)

    async def turns_until(self, fact: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not fact():  # noqa: ASYNC110 - turns of the loop
                await asyncio.sleep(0)


def talk(about: Callable[[Served], Awaitable[object]]):
    async def run():
        async with Served() as served:
            return await about(served)

    return asyncio.run(run())


def get(url: bytes = b"/auth/?model=sm", *lines: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([b"%b %b HTTP/%b" % (method, url, version), b"Host: gate", *lines, b"", b""])


def test_a_question_is_answered_directly_with_its_query_and_headers():
    async def about(served):
        answer = await served.ask(get(b"/auth/?model=sm", b"X-Forwarded-Uri: /A", b"x-OTHER:  b c"))
        assert answer == OK + DIRECTLY + b"x-query: model=sm\r\n\r\n"
        host, *headers = served.direct[0][1]
        assert (host, headers) == ((b"host", b"gate"), [(b"x-forwarded-uri", b"/A"), (b"x-other", b"b c")])
        assert served.by_application == []

    talk(about)


BODY = b"Content-Length: 3"


@pytest.mark.parametrize(
    "asked",
    [
        get(b"/"),
        get(b"/auth"),
        get(b"/auth/x?model=sm"),
        get(b"//auth/"),
        get(b"/%61uth/"),
        get(b"http://gate/auth/"),
        get(b"/auth/?a#b"),
        get(b"/auth/?" + b"x" * LONGEST_URL),
        get(method=b"HEAD"),
        get(method=b"POST"),
        get(b"/auth/", b"Connection: close"),
        get(b"/auth/", b"Connection: keep-alive", version=b"1.0"),
        get(b"/auth/", b"Connection: Upgrade", b"Upgrade: websocket"),
        get(b"/auth/", b"Expect: 100-continue", b"Content-Length: 0"),
        get(b"/auth/", BODY) + b"abc",
        get(b"/auth/", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_whatever_is_not_a_plain_get_of_its_path_goes_to_the_application(asked):
    async def about(served):
        answer = await served.ask(asked)
        assert BY_APPLICATION in answer
        assert (len(served.direct), len(served.by_application)) == (0, 1)

    talk(about)


def test_addresses_are_looked_up_for_the_application_alone_and_once(monkeypatch):
    looked_up = Mock(wraps=get_remote_addr)
    monkeypatch.setattr(protocol, "get_remote_addr", looked_up)

    async def about(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for url, lookups in ((b"/auth/", 0), (b"/", 1), (b"/auth/", 1), (b"/", 1)):
            writer.write(get(url))
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            assert looked_up.call_count == lookups
        return writer

    async def run():
        async with Served() as served:
            make = partial(GateProtocol, config=served.protocol.config, server_state=State(), app_state=served.offer)
            async with await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0) as server:
                address = server.sockets[0].getsockname()
                writer = await about(address[1])
                ours = writer.get_extra_info("sockname")
                writer.close()
                return [(scope["scheme"], scope["server"], scope["client"]) for scope in served.scopes], address, ours

    seen, server, client = asyncio.run(run())
    assert seen == [("http", server, client)] * 2


def test_the_application_sees_all_that_was_sent():
    async def about(served):
        await served.ask(get(b"/path?q=1", b"X-One: 1", b"X-Two: 2"))
        assert served.by_application == [(b"/path?q=1", [(b"host", b"gate"), (b"x-one", b"1"), (b"x-two", b"2")])]

    talk(about)


def test_a_client_that_speaks_http_1_0_is_answered_and_its_connection_closed():
    async def about(served):
        assert (
            await served.ask(get(version=b"1.0"), 2)
            == OK + DIRECTLY + b"x-query: model=sm\r\nconnection: close\r\n\r\n"
        )

    talk(about)


def test_nothing_is_answered_after_the_last_answer():
    async def about(served):
        answers = await served.ask(get(version=b"1.0") + get() + get(b"/", method=b"POST"), 4)
        assert answers.count(b"200 OK") == 1
        assert (len(served.direct), served.by_application) == (1, [])

    talk(about)


def test_pipelined_questions_and_requests_are_answered_in_their_order():
    async def about(served):
        urls = [b"/auth/?1", b"/x?2", b"/auth/?3", b"/auth/?4", b"/y?5", b"/auth/?6"]
        answers = await served.ask(b"".join(map(get, urls)), len(urls))
        queries = [line.split()[1] for line in answers.split(b"\r\n") if line.startswith(b"x-query")]
        assert queries == [b"1", b"2", b"3", b"4", b"5", b"6"]

    talk(about)


def test_a_question_waits_for_the_answer_to_the_one_before():
    async def about(served):
        served.holds = True
        await served.send(get(b"/auth/?1") + get(b"/auth/?2"))
        await served.turns_until(lambda: served.held)
        assert [query for query, _ in served.direct] == [b"1"]
        served.held.pop()()
        await served.turns_until(lambda: served.held)
        served.held.pop()()
        assert (await served.read(2)).count(b"200 OK") == 2

    talk(about)


def test_thousands_of_pipelined_questions_are_answered_and_bounded():
    """Answered one within the other, they would be a recursion; read all at once, they would fill the memory."""

    async def about(served):
        served.holds = True
        sending = asyncio.create_task(served.send(get() * 30_000))
        await served.turns_until(lambda: served.protocol.flow.read_paused)
        waiting = len(served.protocol.pipeline)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(served.protocol.pipeline) == waiting < 10_000
        served.holds = False
        served.held.pop()()
        answers = 0
        while answers < 30_000:
            answers += (await served.read()).count(b"200 OK")
        await sending

    talk(about)


def test_an_answer_waits_until_a_slow_client_has_read_the_ones_before():
    async def about(served):
        served.holds = True
        await served.send(get(b"/auth/?1") + get(b"/auth/?2"))
        await served.turns_until(lambda: served.held)
        served.protocol.pause_writing()
        served.held.pop()()
        await asyncio.sleep(0)
        assert served.protocol.transport.get_write_buffer_size() == 0 and not served.held
        served.protocol.resume_writing()
        assert b"x-query: 1" in await served.read()
        await served.turns_until(lambda: served.held)

    talk(about)


def test_a_client_that_left_is_not_answered_and_nobody_fails():
    async def about(served):
        served.holds = True
        await served.send(get())
        await served.turns_until(lambda: served.held)
        served.client.close()
        await served.turns_until(lambda: served.protocol not in served.state.connections)
        served.held.pop()()

    talk(about)


def test_a_leaving_worker_says_so_with_the_answer():
    async def about(served):
        served.state.leaving = True
        assert b"connection: close\r\n\r\n" in await served.ask(get(), 2)

    talk(about)


def test_a_head_in_pieces_is_a_question_like_any_other():
    async def about(served):
        head = get(b"/auth/?model=sm", b"X-Forwarded-Uri: /A")
        for start in range(0, len(head), 7):
            await served.send(head[start : start + 7])
            await asyncio.sleep(0)
        assert DIRECTLY in await served.read()
        assert served.direct[0][1][1] == (b"x-forwarded-uri", b"/A")

    talk(about)


def test_a_busy_connection_is_not_swept_and_an_idle_one_is():
    async def about(served):
        served.holds = True
        await served.send(get())
        await served.turns_until(lambda: served.held)
        served.state.now += 1000
        served.protocol.sweep()
        assert not served.protocol.transport.is_closing()
        served.held.pop()()
        served.state.now += 1000
        served.protocol.sweep()
        assert served.protocol.transport.is_closing()

    talk(about)


NAMES = st.sampled_from(["X-Forwarded-Uri", "x-forwarded-uri", "Authorization", "X-Api-Key", "Cookie", "X"])
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)
URLS = st.sampled_from(["/auth/", "/auth/?", "/auth/?model=sm", "/auth/?a=b&model=%20", "/auth/??", "/auth/?a%00"])


@given(url=URLS, lines=st.lists(st.tuples(NAMES, VALUES), max_size=6))
@settings(max_examples=200, deadline=None)
def test_the_offer_sees_what_the_application_would_see(url, lines):
    head = get(url.encode(), *(f"{name}: {value}".encode("latin-1") for name, value in lines))

    async def about(served):
        await served.ask(head)
        served.protocol.offer = None
        await served.ask(head)
        (path, headers), (query, seen) = served.by_application[0], served.direct[0]
        assert (path, headers) == (b"/auth/?" + query, seen)

    talk(about)


def test_few_queries_are_remembered():
    for number in range(1000):
        assert query_at(b"/auth/", b"/auth/?%d" % number) == b"%d" % number
    assert query_at.cache_info().currsize <= 256
