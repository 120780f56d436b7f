"""The page's commands for backups and for a change of the pepper, run once each."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.swarm.cluster import API
from tests.swarm.conftest import NOW
from tests.swarm.engine import CommandFailed, docker, wait_for

HEALTH = "/en_core_web_sm/health"


def public_id(key):
    return key.split("_")[1]


@pytest.fixture(scope="session")
def restored(now, under_traffic):
    """A backup, then later changes, then its restore, with the traffic's key throughout."""
    kept = now.issue("kept")
    now.run("## Backup", NOW)
    lost = now.issue("lost")
    now.manage("revoke_key", public_id(kept))
    assert now.ask(API, HEALTH, key=kept).status == 401
    assert now.ask(API, HEALTH, key=lost).status == 200
    step = under_traffic("restore of the database", lambda: now.run("## Restore", NOW))
    return step, kept, lost


def test_the_gate_follows_a_restored_database(restored, now):
    _, kept, lost = restored
    assert now.answers(200, API, HEALTH, key=kept)
    assert now.ask(API, HEALTH, key=lost).status == 401


def test_gates_answer_while_the_database_is_restored(restored):
    step, *_ = restored
    assert [failure for failure in step.traffic.failures if API in failure] == []


def test_a_backup_of_redis_brings_back_what_was_in_it(now):
    def redis(*words):
        return now.inside("redis", "sh", "-c", f"{CLI} {' '.join(words)}")

    redis("set", "marker-of-a-test", "kept")
    now.run("## Backup", NOW)
    redis("flushall")
    now.run("### Redis as well", NOW)
    wait_for(lambda: now.answers(200, API, HEALTH, key=now.key), "an answer after Redis came back")
    assert redis("get", "marker-of-a-test") == "kept"
    assert "appendonly.aof.manifest" in now.inside("redis", "ls", "/data/appendonlydir")
    redis("del", "marker-of-a-test")


CLI = "REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli"


def nobody_needs_the_old_pepper(cluster):
    try:
        return cluster.manage("check_pepper")
    except CommandFailed:
        return False


@pytest.fixture(scope="session")
def pepper(now, under_traffic):
    """The page's three deployments."""
    keys = {"before": now.key}

    def change():
        now.deploy(NOW, heading="## Changing `KEY_PEPPER`")
        now.deploy(NOW, heading="### Using the new pepper")
        keys["after"] = now.issue("after")
        for key in now.keys:  # as their owners would eventually
            now.ask(API, HEALTH, key=key)
        wait_for(lambda: nobody_needs_the_old_pepper(now), "no secret that needs the old pepper", 60)
        now.deploy(NOW, heading="### Forgetting the old pepper")
        now.env["KEY_PEPPER_SECRET"] = "authsvc_KEY_PEPPER_2"

    return under_traffic("a change of the pepper", change), keys


def test_a_change_of_the_pepper_fails_no_request_and_keeps_every_key(pepper, now):
    step, keys = pepper
    assert step.failures == []
    assert {name: now.ask(API, HEALTH, key=key).status for name, key in keys.items()} == dict.fromkeys(keys, 200)


@pytest.fixture
def sentinel(now):
    """A separate Redis with a Sentinel, as services outside our stacks."""
    common = ("--network", "authsvc_data", "--endpoint-mode", "dnsrr", "-q", "--detach=false", "--no-resolve-image")
    redis = ("redis-server", "--maxmemory-policy", "noeviction", "--save", "")
    settings = "port 26379\nprotected-mode no\nsentinel resolve-hostnames yes\nsentinel monitor main own-redis 6379 1\n"
    watch = f"printf '{settings}' >/tmp/sentinel.conf && exec redis-server /tmp/sentinel.conf --sentinel"
    try:
        docker("service", "create", "--name", "own-redis", *common, "redis:8", *redis)
        docker("service", "create", "--name", "own-sentinel", *common, "redis:8", "sh", "-c", watch)
        docker("secret", "create", "own_REDIS_URL", "-", given=b"redis+sentinel://own-sentinel:26379/main/0")
        yield {"REDIS_URL_SECRET": "own_REDIS_URL"}
        now.deploy(NOW)
    finally:
        for name in ("own-redis", "own-sentinel"):
            with suppress(CommandFailed):
                docker("service", "rm", name)


def test_a_move_to_a_sentinel_of_one_s_own_fails_no_request(sentinel, now, under_traffic):
    def move():
        now.deploy(NOW, **sentinel)
        now.deploy(NOW, REDIS_REPLICAS="0", **sentinel)

    assert under_traffic("a move to another Redis", move).failures == []
    assert now.tasks("redis") == []
    assert now.ask(API, HEALTH, key=now.key).status == 200
