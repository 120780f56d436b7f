"""A cluster's masters: which of them has a partition, and what happens to those that are gone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest
from redis.crc import key_slot
from redis.exceptions import RedisClusterException

from store import masters, names
from store.address import read_address
from store.clients import StoreUnavailable
from store.masters import Masters


class Cluster:
    """Stands for redis-py's client: its slot map is that of `nodes`, which share the slots equally."""

    def __init__(self, *nodes: str) -> None:
        self.nodes, self.asked = list(nodes), 0
        self.answers: Callable[[], Awaitable[None]] = Cluster.at_once
        self.nodes_manager = SimpleNamespace(get_node_from_slot=self._node, initialize=self.initialize)

    @staticmethod
    async def at_once() -> None: ...

    def _node(self, slot: int):
        return self._named(self.nodes[slot * len(self.nodes) // 16384])

    @staticmethod
    def _named(name: str):
        return SimpleNamespace(name=name, host="127.0.0.1", port=1)

    def get_primaries(self):
        return [self._named(name) for name in self.nodes]

    async def initialize(self) -> None:
        self.asked += 1
        await self.answers()

    async def aclose(self) -> None: ...


@pytest.fixture
def of(on_a_loop):
    """Run a test with the masters of a cluster."""

    def run(cluster: Cluster, test) -> None:
        async def with_masters() -> None:
            found = Masters(read_address("redis+cluster://127.0.0.1:1"), 20.0)
            await found.client.aclose()
            found.client = cluster
            try:
                await test(found)
            finally:
                await found.close()

        on_a_loop(with_masters())

    return run


def test_a_partition_is_at_the_slot_that_redis_computes_for_its_names(of):
    slots: list[int] = []
    cluster = Cluster("a")

    def note(slot: int):
        slots.append(slot)
        return Cluster._named("a")

    cluster.nodes_manager.get_node_from_slot = note

    async def test(found: Masters) -> None:
        for partition in names.ALL_PARTITIONS:
            found._node(partition)

    of(cluster, test)
    assert slots == [key_slot(names.account(f"{partition}xxxxxx").encode()) for partition in names.ALL_PARTITIONS]


def test_masters_are_unknown_until_they_were_asked_for(of):
    async def test(found: Masters) -> None:
        with pytest.raises(StoreUnavailable):
            found.partitions()
        await found.known()
        parts = found.partitions()
        assert sorted(found._node(part).name for part in parts) == ["a", "b", "c"]

    of(Cluster("a", "b", "c"), test)


def test_a_master_that_is_gone_loses_its_pipe_and_the_others_keep_theirs(of):
    cluster = Cluster("a", "b")

    async def test(found: Masters) -> None:
        await found.known()
        pipes = {found._node(part).name: found.pipe(part) for part in found.partitions()}
        cluster.nodes = ["a", "c"]
        assert await found._ask()
        assert (pipes["a"]._closed, pipes["b"]._closed) == (False, True)
        assert found._pipes == {"a": pipes["a"]}

    of(cluster, test)


@pytest.mark.parametrize(("is_broken", "seconds_ago", "asks"), [(True, 1.0, 1), (True, 0.9, 0), (False, 60.0, 0)])
def test_the_masters_are_asked_for_again_once_a_second_while_a_pipe_is_broken(of, is_broken, seconds_ago, asks):
    cluster = Cluster("a")

    async def test(found: Masters) -> None:
        await found.known()
        pipe = found.pipe("AA")
        pipe._broken = is_broken
        before, found._looked_at = cluster.asked, asyncio.get_running_loop().time() - seconds_ago
        for _ in range(5):
            assert found.pipe("AA") is pipe
        if found._looking is not None:
            await found._looking
        assert cluster.asked - before == asks

    of(cluster, test)


async def hang() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise RedisClusterException("no node answered")


def test_whoever_asks_before_the_masters_are_known_waits_for_a_decisions_time_once(of, monkeypatch):
    monkeypatch.setattr(masters, "DECISION_SECONDS", 0.01)
    cluster = Cluster("a")
    cluster.answers = hang

    async def test(found: Masters) -> None:
        async with asyncio.timeout(20):
            with pytest.raises(StoreUnavailable, match="in time"):
                await found.known()
        monkeypatch.setattr(masters, "DECISION_SECONDS", 3600)
        async with asyncio.timeout(20):
            with pytest.raises(StoreUnavailable, match="in time"):
                await found.known()
        assert cluster.asked == 1

    of(cluster, test)


def test_the_client_is_made_ready_once_and_then_only_asks_for_a_new_map(of):
    cluster, maps = Cluster("a"), list[int]()

    async def renew() -> None:
        maps.append(cluster.asked)

    async def test(found: Masters) -> None:
        cluster.nodes_manager.initialize = renew
        await found.known()
        for _ in range(2):
            await found._ask()
        assert maps == [1, 1]

    of(cluster, test)


def test_a_cluster_that_hangs_is_asked_again(of):
    cluster = Cluster("a")
    cluster.answers = hang

    async def test(found: Masters) -> None:
        found._seconds = 0.01
        async with asyncio.timeout(20):
            assert not await found._ask()
        assert "TimeoutError" in found.trouble

    of(cluster, test)


def test_masters_that_are_known_are_used_on_while_no_node_names_them(of, caplog):
    cluster = Cluster("a")

    async def test(found: Masters) -> None:
        await found.known()
        pipe = found.pipe("AA")
        cluster.answers = fail
        for _ in range(2):
            assert await found._ask()
            assert found.pipe("AA") is pipe and "RedisClusterException" in found.trouble
        assert len(caplog.records) == 1
        cluster.answers = Cluster.at_once
        assert await found._ask()
        assert found.trouble == ""

    of(cluster, test)


def test_masters_are_asked_for_at_growing_intervals_of_a_second_at_most(of, monkeypatch):
    cluster, pauses = Cluster("a"), list[float]()
    cluster.answers = fail

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 12:
            cluster.answers = Cluster.at_once

    async def test(found: Masters) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", note)
            await found._look()
        await found.known()

    of(cluster, test)
    assert pauses[:3] == [0.025, 0.05, 0.1]
    assert max(pauses) == 1.0


def test_a_slot_that_no_node_has_is_a_store_that_is_away(of):
    cluster = Cluster("a")

    def nowhere(slot: int):
        raise KeyError(slot)

    async def test(found: Masters) -> None:
        await found.known()
        cluster.nodes_manager.get_node_from_slot = nowhere
        with pytest.raises(StoreUnavailable):
            found.pipe("AA")

    of(cluster, test)


def test_each_master_is_connected_to_as_the_address_says(of, monkeypatch):
    connected: list[tuple[object, ...]] = []

    def to_host(*where: object):
        connected.append(where)
        return fail

    monkeypatch.setattr(masters, "to_host", to_host)

    async def test(found: Masters) -> None:
        found._tls = ssl.create_default_context()
        await found.known()
        found.pipe("AA")
        assert connected == [("127.0.0.1", 1, found._tls)]

    of(Cluster("a"), test)
