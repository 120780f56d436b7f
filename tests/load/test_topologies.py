"""The whole decision over Redis Cluster and through Redis Sentinel, with a failover."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from contextlib import ExitStack
from io import StringIO

import pytest
from django.core.management import call_command
from django.db.models import Sum

from accounts.services.accounts import create_account
from accounts.services.catalogue import change_catalogue
from accounts.services.keys import issue_key, revoke_key
from authsvc.gate.app import close_gate, gate
from quotas.models import Plan, UsageHour
from store import clients, names
from tests.conftest import ACTOR
from tests.gate.conftest import question, raw
from tests.servers import accepts, free_port, redis_server, running, wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("redis-cli") is None, reason="needs redis-cli and redis-server's sentinel"),
]


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack
        clients.sync_client.cache_clear()


def use(url: str, settings) -> None:
    settings.REDIS_URL = url
    clients.sync_client.cache_clear()


@pytest.fixture
def cluster(stack, tmp_path, settings):
    """Three masters."""
    ports = []
    for number in range(3):
        directory = tmp_path / str(number)
        directory.mkdir()
        port = free_port()
        stack.enter_context(
            redis_server(directory, port=port, more=("--cluster-enabled", "yes", "--cluster-port", str(free_port())))
        )
        ports.append(port)
    nodes = [f"127.0.0.1:{port}" for port in ports]
    subprocess.run(
        ["redis-cli", "--cluster", "create", *nodes, "--cluster-yes"], check=True, capture_output=True, timeout=60
    )
    use(f"redis+cluster://{','.join(nodes)}", settings)
    wait_until(lambda: "cluster_state:ok" in _cli(ports[0], "cluster", "info"), "the cluster")
    return ports


def _cli(port: int, *args: str) -> str:
    """What redis-cli prints; nothing from a server that cannot be reached this moment, for whoever asks again."""
    command = ["redis-cli", "-p", str(port), *args]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=10).stdout


async def statuses(*keys: str) -> list[int]:
    return [(await gate().answer("/auth/", b"model=sm", raw(question(key)))).status for key in keys]


def test_accounts_spread_over_a_cluster_are_decided_counted_and_revoked(
    cluster, redis_db_of_the_test, catalogue, on_a_loop
):
    plan = Plan.objects.get(name="free")
    keys = [issue_key(create_account(f"a{n}", plan, actor=ACTOR)[0], name="k", actor=ACTOR) for n in range(12)]

    async def run() -> None:
        assert await statuses(*[key.text for key in keys]) == [200] * 12
        assert await statuses(*[key.text for key in keys]) == [200] * 12
        await asyncio.to_thread(_in_thread, revoke_key, keys[0].key)
        assert await statuses(keys[0].text, keys[1].text) == [401, 200]
        await close_gate()

    on_a_loop(run())
    used = [port for port in cluster if ":a:" in _cli(port, "--scan")]
    assert len(used) > 1
    call_command("keep_ledger", once=True, stdout=StringIO())
    assert UsageHour.objects.aggregate(sum=Sum("allowed"))["sum"] == 25


def test_a_single_node_cluster_configured_as_a_plain_redis_learns_a_new_catalogue(
    stack, tmp_path, settings, redis_db_of_the_test, catalogue
):
    more = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    stack.enter_context(redis_server(tmp_path, port=(port := free_port()), more=more))
    _cli(port, "cluster", "addslotsrange", "0", "16383")
    wait_until(lambda: "cluster_state:ok" in _cli(port, "cluster", "info"), "the cluster")
    use(f"redis://127.0.0.1:{port}/0", settings)
    assert change_catalogue(lambda: ["once more"], actor=ACTOR)[1].published
    assert int(_cli(port, "dbsize")) == len(names.ALL_PARTITIONS) + 2  # the catalogue, and whose it is


def _in_thread(service, key):
    from django.db import connection

    try:
        return service(key, actor=ACTOR)
    finally:
        connection.close()


@pytest.fixture
def redis_db_of_the_test():
    """The stores of these tests are their own and begin empty."""


@pytest.fixture
def redis_db(redis_db_of_the_test):
    return None


@pytest.fixture
def sentinel(stack, tmp_path, settings):
    """A master, a replica, and a sentinel that watches them."""
    ports = [free_port() for _ in range(3)]
    for number, port in enumerate(ports[:2]):
        directory = tmp_path / str(number)
        directory.mkdir()
        more = ("--replicaof", "127.0.0.1", str(ports[0])) if number else ()
        stack.enter_context(redis_server(directory, port=port, more=(*more, "--repl-diskless-sync-delay", "0")))
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {ports[2]}\nsentinel monitor models 127.0.0.1 {ports[0]} 1\nsentinel down-after-milliseconds models 1000\n"
    )
    stack.enter_context(running(["redis-server", str(config), "--sentinel"], log=tmp_path / "sentinel.log"))
    wait_until(lambda: accepts(ports[2]), "the sentinel")
    wait_until(lambda: f"port={ports[1]},state=online" in _cli(ports[0], "info", "replication"), "the replica")
    wait_until(lambda: "slaves=1" in _cli(ports[2], "info", "sentinel"), "the sentinel knowing the replica")
    use(f"redis+sentinel://127.0.0.1:{ports[2]}/models/0", settings)
    return ports


def test_a_failover_is_followed(sentinel, redis_db_of_the_test, catalogue, on_a_loop):
    account, _ = create_account("acme", Plan.objects.get(name="pro"), actor=ACTOR)
    key = issue_key(account, name="k", actor=ACTOR)

    async def run() -> None:
        assert await statuses(key.text, key.text) == [200, 200]
        await asyncio.to_thread(_cli, sentinel[2], "sentinel", "failover", "models")
        await asyncio.to_thread(
            wait_until, lambda: "role:master" in _cli(sentinel[1], "info", "replication"), "the failover"
        )
        end = time.monotonic() + 15
        # The old master may answer until it is told: what counts is an answer that the new one gave.
        while await statuses(key.text) != [200] or "authsvc-gate" not in _cli(sentinel[1], "client", "list"):
            assert time.monotonic() < end, "the gate did not find the new master"
            await asyncio.sleep(0.1)
        await close_gate()

    on_a_loop(run())
    account_name = names.account(account.public_id)
    assert _cli(sentinel[1], "exists", account_name).strip() == "1"
    assert revoke_key(key.key, actor=ACTOR).published


def test_the_successor_of_a_cluster_s_master_is_found(cluster, stack, tmp_path, settings, on_a_loop):
    from store.clients import StoreUnavailable
    from store.commands import command
    from store.link import Link

    directory = tmp_path / "replica"
    directory.mkdir()
    replica, master = free_port(), cluster[0]
    more = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    stack.enter_context(redis_server(directory, port=replica, more=more))
    added = ["redis-cli", "--cluster", "add-node", f"127.0.0.1:{replica}", f"127.0.0.1:{cluster[1]}", "--cluster-slave"]
    master_id = _cli(master, "cluster", "myid").strip()
    subprocess.run([*added, "--cluster-master-id", master_id], check=True, capture_output=True, timeout=30)
    wait_until(lambda: "master_link_status:up" in _cli(replica, "info", "replication"), "the replica")
    partition = next(p for p in names.ALL_PARTITIONS if _is_on(master, p))

    async def run() -> None:
        link = Link(settings.REDIS_URL)
        assert await link.ask(partition, command("SET", f"{{{partition}}}:x", "before")) == b"OK"
        await asyncio.to_thread(_cli, replica, "cluster", "failover", "takeover")
        took_over = lambda: "role:master" in _cli(replica, "info", "replication")  # noqa: E731
        await asyncio.to_thread(wait_until, took_over, "the takeover")
        await asyncio.to_thread(_cli, master, "shutdown", "nosave", "now")
        end = time.monotonic() + 30
        while True:
            # What was written last may be lost in a takeover: that the successor takes what is written now is what counts.
            try:
                if await link.ask(partition, command("SET", f"{{{partition}}}:x", "after")) == b"OK":
                    break
            except StoreUnavailable:
                pass
            assert time.monotonic() < end, "the link did not find the new master"
            await asyncio.sleep(0.1)
        await link.close()

    on_a_loop(run())
    assert _cli(replica, "get", f"{{{partition}}}:x").strip() == "after"


def _is_on(port: int, partition: str) -> bool:
    return "MOVED" not in _cli(port, "get", f"{{{partition}}}:x")
