"""The way from a gate to Redis: what is loaded once, what waits for what, and what is left behind."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import hiredis
import pytest

from store import clients
from store import link as module
from store.clients import StoreUnavailable
from store.commands import Script, command
from store.link import Link, link
from store.masters import Masters
from tests.deadlines import GENEROUS_SECONDS
from tests.servers import until

SCRIPT = Script("return 1")


class Sent:
    """Replies to what a link sends, in the order in which a test gives them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.replies: list[asyncio.Future[Any]] = []

    def send(self, partition: str, packed: bytes, deadline: float | None = None) -> asyncio.Future[Any]:
        self.asked.append((partition, packed))
        self.replies.append(asyncio.get_running_loop().create_future())
        return self.replies[-1]

    def loads(self) -> list[str]:
        """The partitions whose masters were told to load the script."""
        return [partition for partition, packed in self.asked if b"LOAD" in packed]


@pytest.fixture
def linked(on_a_loop, settings, monkeypatch):
    """Run a test with a link that sends nothing, and with what it would have sent."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    def run(test) -> None:
        async def with_link() -> None:
            found, sent = Link(settings.REDIS_URL), Sent()
            monkeypatch.setattr(found, "send", sent.send)
            await test(found, sent)
            await found.close()

        on_a_loop(with_link())

    return run


def gone(found: Link, partition: str) -> asyncio.Future[Any]:
    """Ask again for a script that this partition's master does not have."""
    error = hiredis.ReplyError("NOSCRIPT No matching script")
    return asyncio.ensure_future(found.again(partition, SCRIPT.call([], []), error))


def test_a_script_is_loaded_at_each_master_that_lacks_it(linked):
    async def test(found: Link, sent: Sent) -> None:
        asking = [gone(found, partition) for partition in ("AA", "zz", "AA")]
        await until(lambda: len(sent.replies) == 2)
        assert sent.loads() == ["AA", "zz"]
        for reply in sent.replies[:2]:
            reply.set_result(SCRIPT.sha.encode())
        await until(lambda: len(sent.replies) == 5)
        for reply in sent.replies[2:]:
            reply.set_result(1)
        assert await asyncio.gather(*asking) == [1, 1, 1]

    linked(test)


def test_who_gives_up_while_a_script_is_loaded_takes_it_from_nobody_else(linked):
    async def test(found: Link, sent: Sent) -> None:
        given_up, patient = gone(found, "AA"), gone(found, "AA")
        await until(lambda: bool(sent.replies))
        given_up.cancel()
        await asyncio.sleep(0)
        sent.replies[0].set_result(SCRIPT.sha.encode())
        await until(lambda: len(sent.replies) == 2)
        sent.replies[1].set_result(1)
        assert await patient == 1

    linked(test)


def test_in_a_cluster_a_question_waits_until_the_masters_are_known(linked):
    known = asyncio.Event()

    async def test(found: Link, sent: Sent) -> None:
        found._masters = cast(Masters, SimpleNamespace(known=known.wait))
        asking = asyncio.ensure_future(found.ask("AA", command("PING")))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not sent.asked
        known.set()
        await until(lambda: bool(sent.asked))
        sent.replies[0].set_result(b"PONG")
        assert await asking == b"PONG"
        found._masters = None

    linked(test)


def test_what_may_not_go_through_a_pipe_has_a_client_of_its_own_that_ends_with_the_link(linked, settings, monkeypatch):
    settings.REDIS_CONNECT_SECONDS = 7.0
    made: list[tuple[float, float]] = []
    ended: list[bool] = []

    class Client:
        async def execute_command(self, *_: object) -> int:
            return 1

        async def aclose(self) -> None:
            ended.append(True)

    def client(_, connect_seconds: float, read_seconds: float) -> Client:
        made.append((connect_seconds, read_seconds))
        return Client()

    monkeypatch.setattr(clients, "async_client", client)

    async def test(found: Link, sent: Sent) -> None:
        for _ in range(2):
            assert await found.again("AA", command("PING"), hiredis.ReplyError("TRYAGAIN")) == 1
        assert made == [(7.0, GENEROUS_SECONDS)]
        assert not ended

    linked(test)
    assert ended == [True]


@pytest.mark.parametrize("failure", [OSError("refused"), KeyError(7), TimeoutError()], ids=repr)
def test_a_client_that_cannot_ask_either_is_a_store_that_is_away(linked, failure):
    async def test(found: Link, sent: Sent) -> None:
        async def fail(*_: object) -> None:
            raise failure

        async def nothing() -> None: ...

        found._client = SimpleNamespace(execute_command=fail, aclose=nothing)
        with pytest.raises(StoreUnavailable, match="LOADING"):
            await found.again("AA", command("PING"), hiredis.ReplyError("LOADING"))

    linked(test)


def test_links_of_loops_that_have_ended_are_not_kept(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    async def make() -> Link:
        return link()

    made = [asyncio.run(make()) for _ in range(3)]
    assert [found for found in module._links.values() if found in made] == made[-1:]
