"""A gate's /readyz and /metrics ask Redis the way its decisions do, so they see the same."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import subprocess
import threading
from io import StringIO
from typing import Any

import pytest
import redis
from django.core.management import call_command
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from accounts import ledger_worker
from accounts.ledger_worker import Worker
from accounts.services.catalogue import change_catalogue
from authsvc.checks import check_redis
from runtime import health, measures, replica
from store import clients
from store.condition import Condition, memory_warning, parse_info, read_condition, wrong_policies
from store.examination import Examination
from store.link import close_link, link
from tests.conftest import ACTOR
from tests.servers import free_port, redis_server
from tests.tcp_proxy import proxy

pytestmark = pytest.mark.django_db(transaction=True)

MEGABYTE = 1024 * 1024


@pytest.fixture(autouse=True)
def _nothing_told_yet():
    health._told.clear()


@pytest.fixture
def server(tmp_path):
    """A Redis for this test alone, and its port."""
    port = free_port()
    user = ("--user", "gate", "on", ">s3cret", "~*", "&*", "+@all")
    with redis_server(tmp_path, port=port, more=user) as path, redis.Redis(unix_socket_path=str(path)) as client:
        yield client, port


@pytest.fixture
def gate(on_a_loop, settings, server):
    """Request a page from a process with a gate. `gate(path, url=…)` starts with a link to that Redis."""

    def ask(path: str = "/readyz", url: str = f"redis://127.0.0.1:{server[1]}/0", *, when_down: str = "deny"):
        settings.REDIS_URL, settings.WHEN_REDIS_IS_DOWN, settings.SERVES = url, when_down, ["gate"]
        clients.sync_client.cache_clear()

        async def page():
            link().open()
            for _ in range(200):  # a busy machine may need more than a decision's time
                found = await health.find_page("GET", path)
                if b"still connecting" not in found.body and b"in time" not in found.body:
                    return found
            return found

        return on_a_loop(page())

    yield ask
    on_a_loop(close_link())
    clients.sync_client.cache_clear()


def told(page) -> tuple[int, list[str]]:
    return page.status, json.loads(page.body)["reasons"]


def test_a_gate_that_can_sign_in_is_ready(gate):
    assert told(gate()) == (200, [])


def test_a_gate_that_cannot_sign_in_says_why(gate, server):
    status, (reason,) = told(gate(url=f"redis://gate:wrong@127.0.0.1:{server[1]}/0"))
    assert status == 503
    assert "cannot be used" in reason and "WRONGPASS" in reason


@pytest.mark.timed
def test_a_gate_whose_connection_hangs_answers_within_a_probe_s_second(gate, server, on_a_loop):
    with proxy(server[1]) as network:
        gate(url=f"redis://127.0.0.1:{network.port}/0")
        network.forget()

        async def seconds() -> float:
            began = asyncio.get_running_loop().time()
            page = await health.find_page("GET", "/readyz")
            assert page.status == 503
            return asyncio.get_running_loop().time() - began

        assert on_a_loop(seconds()) < 1


def test_a_redis_that_does_not_take_writes_makes_a_gate_unready(gate, server):
    client, _ = server
    client.replicaof("127.0.0.1", 1)
    status, reasons = told(gate())
    assert status == 503 and reasons
    client.replicaof("NO", "ONE")


def test_a_full_redis_is_reported_and_so_is_its_recovery(gate, server, caplog):
    client, _ = server
    client.config_set("maxmemory", 1)
    full = "the store is full: it refuses to count, so every call is refused (OOM)"
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert told(gate()) == (503, [full])
        assert told(gate(when_down="allow"))[0] == 200
        assert b"authsvc_redis_up 0.0" in gate("/metrics").body
        client.config_set("maxmemory", 0)
        assert told(gate()) == (200, [])
    assert [record.getMessage() for record in caplog.records if record.name == "runtime.health"] == [
        full,
        "the store has recovered",
    ]


def nearly_full(client: redis.Redis) -> None:
    client.setrange("much", 20 * MEGABYTE, "x")  # allocated by Redis: a long command's buffer would be freed later
    used = client.info("memory")["used_memory"]
    client.config_set("maxmemory", int(used / 0.9))


def test_a_nearly_full_redis_is_a_warning_and_leaves_the_replica_ready(gate, server, caplog):
    nearly_full(server[0])
    status, (warning,) = told(gate())
    assert status == 200
    assert warning.startswith("Redis uses 9") and "% of its memory" in warning
    assert warning in [record.getMessage() for record in caplog.records]


def test_the_memory_of_redis_is_a_metric(gate, server):
    server[0].config_set("maxmemory", 100 * MEGABYTE)
    page = gate("/metrics").body.decode()
    assert "authsvc_redis_up 1.0" in page
    assert f"authsvc_redis_memory_max_bytes {float(100 * MEGABYTE)}" in page.replace("1.048576e+08", "104857600.0")
    assert "authsvc_redis_memory_used_bytes" in page


def test_an_eviction_policy_is_reported(gate, server):
    server[0].config_set("maxmemory-policy", "allkeys-lru")
    assert told(gate()) == (503, ["the store's maxmemory-policy is allkeys-lru, not noeviction"])


def test_a_redis_without_info_is_ready(gate, server):
    client, port = server
    client.acl_setuser("gate", enabled=True, reset=False, commands=["-info"])
    assert told(gate(url=f"redis://gate:s3cret@127.0.0.1:{port}/0")) == (200, [])


def test_a_redis_without_scripts_is_not_ready(gate, server):
    client, port = server
    client.acl_setuser("gate", enabled=True, reset=False, commands=["-evalsha"])
    status, (reason,) = told(gate(url=f"redis://gate:s3cret@127.0.0.1:{port}/0"))
    assert (status, reason) == (503, "the store refuses to count (redis answered NOPERM)")


def test_a_console_checks_through_redis_py(on_a_loop, settings, server):
    settings.REDIS_URL, settings.SERVES = f"redis://127.0.0.1:{server[1]}/0", ["console"]
    clients.sync_client.cache_clear()
    try:
        assert told(on_a_loop(health.find_page("GET", "/readyz"))) == (200, [])
        nearly_full(server[0])
        assert told(on_a_loop(health.find_page("GET", "/readyz")))[0] == 200
        settings.REDIS_URL = "redis://127.0.0.1:1/0"
        clients.sync_client.cache_clear()
        assert told(on_a_loop(health.find_page("GET", "/readyz"))) == (
            503,
            ["the store does not answer (ConnectionError)"],
        )
    finally:
        clients.sync_client.cache_clear()


def test_concurrent_checks_share_one_answer(on_a_loop, monkeypatch):
    asked = 0

    async def hang():
        nonlocal asked
        asked += 1
        await asyncio.sleep(3600)

    async def run() -> None:
        monkeypatch.setattr(health, "_examine", hang)
        monkeypatch.setattr(health, "STORE_SECONDS", 0.01)
        pages = await asyncio.gather(*(health.find_page("GET", "/readyz") for _ in range(20)))
        assert {page.status for page in pages} == {503}

    on_a_loop(run())
    assert asked == 1


# When INFO omits fields


@pytest.mark.parametrize(
    ("info", "condition"),
    [
        ({}, Condition()),
        ({"maxmemory_policy": "", "used_memory": "n/a", "maxmemory": None}, Condition()),
        ({"used_memory": "90", "maxmemory": "100"}, Condition(None, 90, 100)),
        ({"used_memory": 90, "maxmemory": 100, "mem_not_counted_for_evict": 40}, Condition(None, 50, 100)),
        (
            parse_info(b"# Memory\r\nused_memory:7\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"),
            Condition("noeviction", 7, 0),
        ),
    ],
)
def test_a_field_of_info_that_is_missing_is_unknown(info, condition):
    assert read_condition(info) == condition


@pytest.mark.parametrize(("used", "most", "warns"), [(79, 100, False), (80, 100, True), (99, 0, False)])
def test_the_warning_begins_at_80_percent_of_a_set_limit(used, most, warns):
    assert (memory_warning([Condition("noeviction", 1, 100), Condition("noeviction", used, most)]) is not None) == warns


EVICTING = [
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "of a version to come",
]


def test_every_policy_but_one_would_drop_counters():
    found = [Condition(policy) for policy in (None, "noeviction", *EVICTING, "allkeys-lru")]
    assert wrong_policies(found) == sorted(EVICTING)
    assert wrong_policies(found[:2]) == []


@pytest.mark.parametrize("is_up", [True, False])
def test_a_redis_that_forbids_info_still_has_to_answer(is_up):
    class Client:
        def info(self, *_, **__):
            raise redis.exceptions.NoPermissionError("no permissions to run the 'info' command")

        def ping(self) -> None:
            if not is_up:
                raise redis.ConnectionError("gone")

    if is_up:
        assert clients.infos(Client(), "memory") == [{}]
    else:
        with pytest.raises(redis.ConnectionError):
            clients.infos(Client(), "memory")


@pytest.fixture(params=["hidden", "forbidden"])
def without_info(request, redis_db, monkeypatch):
    """A provider that hides fields of INFO, and one that forbids INFO."""

    def info(self, *_, **__):
        if request.param == "forbidden":
            raise redis.exceptions.NoPermissionError("this user has no permissions to run the 'info' command")
        return {"redis_version": "7.2.0"}

    monkeypatch.setattr(redis.Redis, "info", info)


def test_the_worker_does_its_turns_without_info(catalogue, without_info):
    keeping = Worker()
    for _ in range(2):
        assert str(keeping.turn())
    call_command("keep_ledger", once=True, stdout=StringIO())


def test_set_up_works_without_info_and_says_what_it_does_not_know(catalogue, without_info, capsys, tmp_path):
    (tmp_path / "c.toml").write_text('[models.sm]\n[plans.free]\nmodels = ["sm"]\n')
    call_command("set_up", catalogue=tmp_path / "c.toml", stdout=StringIO())
    assert "does not report its maxmemory-policy" in capsys.readouterr().err


def test_a_check_warns_of_an_unknown_policy(without_info):
    assert [message.id for message in check_redis()] == ["authsvc.W004"]


def test_a_wait_that_is_forbidden_leaves_a_change_published(catalogue, redis_db, monkeypatch):
    execute = redis.Redis.execute_command

    def forbid(self, *args, **options):
        if args[0] == "WAIT":
            raise redis.exceptions.NoPermissionError("this user has no permissions to run the 'wait' command")
        return execute(self, *args, **options)

    monkeypatch.setattr(redis.Redis, "info", lambda *_, **__: {"connected_slaves": 1, "cluster_enabled": 0})
    monkeypatch.setattr(redis.Redis, "execute_command", forbid)
    assert change_catalogue(lambda: ["again"], actor=ACTOR)[1].published


def test_the_worker_says_once_an_hour_that_redis_fills_up(catalogue, redis_db, monkeypatch, caplog):
    monkeypatch.setattr(clients, "conditions", lambda: [Condition("noeviction", 90, 100)])
    keeping = Worker()
    for _ in range(3):
        keeping._watch_memory()
    assert len([record for record in caplog.records if record.name == ledger_worker.__name__]) == 1


# The text that Prometheus reads


def test_prometheus_can_read_every_metric(gate, server):
    server[0].config_set("maxmemory", 100 * MEGABYTE)
    measures.DECISIONS.count("allowed", "sm")
    measures.DECISION_TIME.observe(0.002)
    page = gate("/metrics")
    assert page.content_type.startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(page.body.decode())}
    assert all(family.documentation.endswith(".") for family in families.values())
    assert {name for name in families if not name.startswith("authsvc_")} == set()
    buckets = [sample for sample in families["authsvc_decision_seconds"].samples if sample.name.endswith("_bucket")]
    counts = [sample.value for sample in buckets]
    assert counts == sorted(counts) and buckets[-1].labels == {"le": "+Inf"} and counts[-1] >= 1


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on PATH")
def test_promtool_finds_nothing_wrong_with_the_metrics(gate):
    measures.DECISION_TIME.observe(0.002)
    page = gate("/metrics")
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=page.body, capture_output=True, timeout=60, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_a_look_up_that_hangs_is_left_out_and_not_begun_again(on_a_loop, monkeypatch):
    asked, release = 0, threading.Event()

    def hang() -> list[Metric]:
        nonlocal asked
        asked += 1
        release.wait(60)
        return [GaugeMetricFamily("authsvc_late", "Late.", 1)]

    async def run() -> None:
        monkeypatch.setattr(health, "STORE_SECONDS", 0.01)
        monkeypatch.setattr(health, "_look_ups", {"late": hang})
        monkeypatch.setattr(health, "_looking", {})
        assert await health.look_up() == [] and await health.look_up() == []
        release.set()
        monkeypatch.setattr(health, "STORE_SECONDS", 60)
        (found,) = await health.look_up()
        assert found.name == "authsvc_late"

    on_a_loop(run())
    assert asked == 1


def test_each_scrape_looks_up_anew_and_a_look_up_that_fails_hides_no_other(on_a_loop, monkeypatch, caplog):
    looked: list[int] = []

    def look() -> list[Metric]:
        looked.append(len(looked))
        return [GaugeMetricFamily("authsvc_looked", "Looked.", len(looked))]

    def fail() -> list[Metric]:
        raise ZeroDivisionError

    async def run() -> None:
        monkeypatch.setattr(health, "STORE_SECONDS", 60)
        monkeypatch.setattr(health, "_look_ups", {"bad": fail, "good": look})
        monkeypatch.setattr(health, "_looking", {})
        for count in (1, 2):
            ((sample,),) = [metric.samples for metric in await health.look_up()]
            assert sample.value == count

    on_a_loop(run())
    assert caplog.text.count("a part of /metrics could not be looked up: ZeroDivisionError") == 2


@pytest.mark.parametrize("when_down", ["deny", "allow"])
@pytest.mark.parametrize(("faults", "warnings"), [((), ()), (("gone",), ()), ((), ("nearly full",))])
@pytest.mark.parametrize("draining", [False, True])
def test_a_replica_is_ready_unless_it_stops_or_lacks_a_store_that_it_needs(
    on_a_loop, monkeypatch, settings, when_down, faults, warnings, draining
):
    async def examine() -> Examination:
        return Examination(faults, warnings)

    settings.WHEN_REDIS_IS_DOWN = when_down
    monkeypatch.setattr(health, "examine", examine)
    monkeypatch.setattr(replica, "is_draining", lambda: draining)
    status, reasons = told(on_a_loop(health.readyz()))
    assert status == (503 if draining or (faults and when_down == "deny") else 200)
    assert reasons == [*["the replica is stopping"] * draining, *faults, *warnings]


def test_the_store_has_recovered_only_when_nothing_is_wrong_any_more(caplog):
    with caplog.at_level(logging.WARNING):
        for faults in (("full", "3 of 9 late"), ("full", "4 of 9 late"), ("full",), (), ()):
            health._tell(Examination(faults))
    assert sorted(record.getMessage() for record in caplog.records[:2]) == ["3 of 9 late", "full"]
    assert [record.getMessage() for record in caplog.records[2:]] == ["the store has recovered"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("HEAD", "/livez", 200),
        ("POST", "/livez", 405),
        ("GET", "/readyz", 404),
        ("POST", "/other", 404),
    ],
)
def test_a_worker_that_serves_no_requests_says_only_whether_it_lives(on_a_loop, method, path, status):
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {}

    on_a_loop(health.of_a_worker({"method": method, "path": path}, receive, send))
    head, body = sent
    assert (head["status"], bool(body["body"])) == (status, method != "HEAD")
    assert dict(head["headers"])[b"cache-control"] == b"no-store"
    assert int(dict(head["headers"])[b"content-length"]) > 0
