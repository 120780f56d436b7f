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
        self.may_end = asyncio.Event()
        self.state, self.offered = State(), offered

    async def __aenter__(self):
        ours, self.client = socket.socketpair()
        self.client.setblocking(False)
        config = Config(self.application, http=GateProtocol, lifespan="off", interface="asgi3", **QUIET)
        config.load()
        self.offer = {OFFER: DirectAnswers(b"/auth/", self.answer)}
        self.protocol = GateProtocol(config=config, server_state=self.state, app_state=self.offer)
        receive, self.received = self.protocol.data_received, 0

        def data_received(data: bytes) -> None:
            receive(data)
            self.received += len(data)

        vars(self.protocol)["data_received"] = data_received
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
        if scope["path"] == "/body":
            await receive()
        self.by_application.append((scope["path"].encode() + b"?" + scope["query_string"], scope["headers"]))
        headers = [(b"content-length", b"0"), (b"x-by", b"application"), (b"x-query", scope["query_string"])]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["path"] == "/long":
            await self.may_end.wait()
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

    def is_kept_at(self, now: float) -> bool:
        """Whether a sweep at this moment leaves the connection open."""
        self.state.now = now
        self.protocol.sweep()
        return not self.protocol.transport.is_closing()

    async def turns_until(self, fact: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not fact():  # noqa: ASYNC110 - turns of the loop
                await asyncio.sleep(0)


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch):
    """The time that a protocol reads, which stands still until a test moves it."""
    clock = Clock()
    monkeypatch.setattr(protocol, "monotonic", lambda: clock.now)
    return clock


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


def test_the_longest_url_is_answered_directly():
    async def about(served):
        assert DIRECTLY in await served.ask(get(b"/auth/?" + b"x" * (LONGEST_URL - len(b"/auth/?"))))

    talk(about)


def test_the_application_is_told_of_tls(monkeypatch):
    monkeypatch.setattr(protocol, "is_ssl", lambda transport: True)

    async def about(served):
        await served.ask(get(b"/"))
        assert [scope["scheme"] for scope in served.scopes] == ["https"]

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
        assert len(served.protocol.tasks) == 1  # the loop alone would not keep it from being collected
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


def test_a_question_whose_turn_comes_after_its_connection_has_ended_is_not_asked():
    """It would take from limits, for an answer that nobody gets."""

    async def about(served):
        served.holds = True
        await served.send(get(b"/auth/?1") + get(b"/auth/?2"))
        await served.turns_until(lambda: served.held)
        served.held.pop()()
        served.protocol.transport.abort()
        for _ in range(5):
            await asyncio.sleep(0)
        assert [query for query, _ in served.direct] == [b"1"]

    talk(about)


def test_each_answer_counts_for_the_requests_after_which_a_worker_is_renewed():
    async def about(served):
        await served.ask(get() + get(b"/") + get(), 3)
        assert served.state.total_requests == 3

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


# Heads have a size and a time


def head_of(size: int, last: bytes = b"") -> bytes:
    """A question's head that has this many bytes."""
    short = get(b"/auth/", b"X-Long: ", *([last] if last else []))
    return get(b"/auth/", b"X-Long: " + b"x" * (size - len(short)), *([last] if last else []))


@pytest.mark.parametrize("piece", [1000, 16_384, 16_385, 1_000_000])
@pytest.mark.parametrize(("beyond", "answer"), [(0, OK), (1, b"HTTP/1.1 431 ")])
def test_a_head_of_64_kb_is_the_longest_however_it_comes(piece, beyond, answer):
    async def about(served):
        head = head_of(65_536 + beyond)
        for start in range(0, len(head), piece):
            received = served.received
            await served.send(head[start : start + piece])
            await served.turns_until(lambda received=received: served.received > received)
        assert (await served.read()).startswith(answer)
        assert len(served.direct) == (0 if beyond else 1)

    talk(about)


def test_what_came_before_a_head_does_not_count_as_a_part_of_it():
    async def about(served):
        served.holds = True
        head, before = head_of(65_536), get(b"/auth/?1")
        await served.send(before + head[:1000])
        await served.turns_until(lambda: served.held)
        await served.send(head[1000:])
        await served.turns_until(lambda: served.received == len(before + head))
        served.held.pop()()
        await served.turns_until(lambda: served.held)
        served.held.pop()()
        assert (await served.read(2)).count(b"200 OK") == 2

    talk(about)


def test_what_follows_a_refused_head_is_read_and_discarded_for_a_moment(clock):
    async def about(served):
        head = head_of(70_000)
        await served.send(head[:1000])
        await served.turns_until(lambda: served.received)
        clock.now += 5
        await served.send(head[1000:])
        assert (await served.read(2)).endswith(b"connection: close\r\n\r\n")  # and then nothing more
        await served.send(get())
        clock.now += GateProtocol.LINGER_SECONDS
        assert served.is_kept_at(clock.now)
        assert not served.is_kept_at(clock.now + 0.1)
        assert served.direct == []

    talk(about)


def test_a_head_that_is_refused_does_not_cut_off_the_answer_before_it():
    async def about(served):
        served.holds = True
        await served.send(get(b"/auth/?1"))
        await served.turns_until(lambda: served.held)
        await served.send(head_of(140_000))
        await served.turns_until(lambda: served.protocol.refused)
        served.held.pop()()
        assert await served.read(2) == OK + DIRECTLY + b"x-query: 1\r\nconnection: close\r\n\r\n"

    talk(about)


def test_a_head_has_ten_seconds_from_its_first_byte_and_a_trickle_gains_none(clock):
    async def about(served):
        head = get()
        for start in range(10):
            received = served.received
            await served.send(head[start : start + 1])
            await served.turns_until(lambda received=received: served.received > received)
            assert served.is_kept_at(clock.now)
            clock.now += 1
        assert served.is_kept_at(clock.now)
        served.is_kept_at(clock.now + 0.1)
        assert (await served.read()).startswith(b"HTTP/1.1 408 ")

    talk(about)


@pytest.mark.parametrize("leaving", [False, True])
@pytest.mark.parametrize("asked", [0, 1])
def test_an_idle_connection_is_kept_for_as_long_as_its_state_deserves(clock, leaving, asked):
    async def about(served):
        clock.now += 50
        served.state.now = clock.now
        for _ in range(asked):
            await served.ask(get())
        patience = served.protocol.timeout_keep_alive if asked else GateProtocol.UNUSED_SECONDS - 50
        served.state.leaving = leaving
        if leaving:
            served.protocol.leave()
            patience = GateProtocol.LINGER_SECONDS
        assert served.is_kept_at(clock.now + patience)
        assert not served.is_kept_at(clock.now + patience + 0.1)

    talk(about)


# The end of a worker


def test_of_pipelined_answers_of_a_leaving_worker_only_the_newest_says_so():
    async def about(served):
        served.holds = served.state.leaving = True
        await served.send(b"".join(map(get, (b"/auth/?1", b"/auth/?2", b"/auth/?3"))))
        answers = b""
        for _ in range(3):
            await served.turns_until(lambda: served.held)
            served.held.pop()()
            answers += await served.read()
        assert answers.count(b"200 OK") == 3
        assert answers.count(b"connection: close") == 1 and answers.endswith(b"x-query: 3\r\nconnection: close\r\n\r\n")

    talk(about)


def test_an_answer_in_progress_is_the_last_when_the_worker_leaves():
    async def about(served):
        served.holds = True
        await served.send(get())
        await served.turns_until(lambda: served.held)
        served.protocol.leave()
        served.held.pop()()
        assert b"connection: close\r\n\r\n" in await served.read(2)

    talk(about)


def test_an_answer_that_has_begun_without_saying_so_is_not_the_last_when_the_worker_leaves():
    async def about(served):
        await served.send(get(b"/long"))
        await served.turns_until(lambda: served.protocol.cycle and served.protocol.cycle.response_started)
        served.protocol.leave()
        served.may_end.set()
        assert b"connection: close" not in await served.read()
        served.state.leaving = True
        assert b"connection: close\r\n\r\n" in await served.ask(get(), 2)

    talk(about)


@pytest.mark.parametrize("sent", [b"", get(), get()[:9]], ids=["nothing", "a question", "the beginning of one"])
@pytest.mark.parametrize("is_read", [False, True])
def test_a_shutdown_closes_an_idle_connection_and_loses_no_question(sent, is_read):
    async def about(served):
        served.holds = True
        await served.send(sent)  # at once: the loop has not read it yet
        if is_read and sent:
            await served.turns_until(lambda: served.received)
        served.protocol.shutdown()
        assert served.protocol.transport.is_closing() == (not sent)
        if sent == get():
            await served.turns_until(lambda: served.held)
            served.held.pop()()
            assert OK in await served.read()

    talk(about)


@pytest.mark.parametrize("expects", [b"100-continue", b"100-Continue"])
def test_a_client_that_waits_to_send_its_body_is_told_to(expects):
    async def about(served):
        await served.send(get(b"/body", b"Expect: " + expects, BODY, method=b"POST"))
        assert (await served.read()).startswith(b"HTTP/1.1 100 ")
        assert BY_APPLICATION in await served.ask(b"abc")

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
