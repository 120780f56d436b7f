"""A Redis that forgets, over and over: no revoked key works once the worker has mended it, and no quota grows.

Each fault strikes AUTHSVC_TEST_FAULT_ROUNDS times in one deployment.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import NamedTuple

import pytest
import redis

from accounts.models import SeenStore
from accounts.services.accounts import create_account
from accounts.services.keys import issue_key, revoke_key
from quotas.models import Plan, UsageHour
from store import clients, names
from tests.conftest import ACTOR, CATALOGUE
from tests.faults.house import House
from tests.servers import free_port, redis_binary, running, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

ROUNDS = int(os.environ.get("AUTHSVC_TEST_FAULT_ROUNDS", "2"))
CALLS = 10  # in each round
QUOTA = 1000 + 100 * ROUNDS
RECOVERY_SECONDS = 60
WITH_QUOTA = CATALOGUE.replace(
    '{ name = "second", per = "account", amount = 50, window = "second", burst = 100 }',
    f'{{ name = "day", per = "account", amount = {QUOTA}, window = "day" }}',
)


class Stage(NamedTuple):
    """A house, and a fault of its Redis: what happens before a key is revoked, and what after it."""

    house: House
    prepare: Callable[[], object]
    strike: Callable[[], int]  # how many calls of the sample key it may have hidden from the counting
    redis: Callable[[], redis.Redis]  # the one in charge


def emptied(house: House) -> Stage:
    def strike() -> int:
        house.kill_redis()
        house.start_redis()
        return 0

    house.start_redis()
    return Stage(house, lambda: None, strike, house.redis)


def set_back(house: House) -> Stage:
    """Started again with a file from before the revocation."""

    def save() -> None:
        with house.redis() as client:
            client.save()

    def strike() -> int:
        house.kill_redis()
        house.start_redis("--dbfilename", "dump.rdb")
        return 0

    house.start_redis()
    return Stage(house, save, strike, house.redis)


def stopped(house: House) -> Stage:
    """With the product's own deadlines, or each round would have to wait for the tests' generous ones."""

    def strike() -> int:
        house.redis_process.send_signal(signal.SIGSTOP)
        try:
            assert house.ask(house.sample).status == 503
        finally:
            house.redis_process.send_signal(signal.SIGCONT)
        return 1

    house.env["DJANGO_SETTINGS_MODULE"] = "authsvc.settings"
    house.start_redis()
    return Stage(house, lambda: None, strike, house.redis)


class Pair:
    """A master and its replica, watched by a Sentinel."""

    def __init__(self, house: House, stack: ExitStack) -> None:
        self._folder, self._stack = house.directory, stack
        self._ports, self._sentinel = [free_port(), free_port()], free_port()
        self._processes = [self._start(0), self._start(1, "--replicaof", "127.0.0.1", str(self._ports[0]))]
        self._watch()
        house.redis_url = f"redis+sentinel://127.0.0.1:{self._sentinel}/models/0"
        house.env["REDIS_URL"] = house.redis_url
        self._until_in_step()

    def _start(self, place: int, *more: str) -> subprocess.Popen[bytes]:
        folder = self._folder / f"redis-{place}"
        folder.mkdir(exist_ok=True)
        command = [redis_binary(), "--port", str(self._ports[place]), "--dir", str(folder), "--save", ""]
        command += ["--repl-diskless-sync-delay", "0", "--repl-timeout", "60", *more]
        return self._stack.enter_context(running(command, log=folder / "redis.log"))

    def _watch(self) -> None:
        config = self._folder / "sentinel.conf"
        config.write_text(
            f"port {self._sentinel}\nsentinel monitor models 127.0.0.1 {self._ports[0]} 1\n"
            "sentinel down-after-milliseconds models 1000\nsentinel failover-timeout models 2000\n"
        )
        self._stack.enter_context(
            running([redis_binary(), str(config), "--sentinel"], log=self._folder / "sentinel.log")
        )

    def _master(self) -> int:
        """The place of the server that Sentinel says is in charge; -1 while it says nothing."""
        with suppress(redis.RedisError), redis.Redis(port=self._sentinel, socket_timeout=5) as sentinel:
            _, port = sentinel.sentinel_get_master_addr_by_name("models") or (None, 0)
            return self._ports.index(int(port)) if int(port) in self._ports else -1
        return -1

    def redis(self) -> redis.Redis:
        return redis.Redis(port=self._ports[self._master()], socket_timeout=5)

    def _until_in_step(self) -> None:
        def is_in_step() -> bool:
            with suppress(redis.RedisError), self.redis() as client:
                told = client.info("replication")
                with redis.Redis(port=self._sentinel, socket_timeout=5) as sentinel:
                    watched = sentinel.sentinel_masters()["models"]
                return (
                    told["role"] == "master"
                    and told.get("slave0", {}).get("state") == "online"
                    and (watched["num-slaves"] >= 1 and watched["is_master"] and not watched["is_odown"])
                )
            return False

        wait_until(is_in_step, "the replica in step", RECOVERY_SECONDS)

    def hold_the_replica(self) -> None:
        """What is written from now on never reaches it."""
        self._until_in_step()
        self._before = self._master()
        self._processes[1 - self._before].send_signal(signal.SIGSTOP)

    def promote_it(self) -> int:
        before = self._before
        self._processes[before].send_signal(signal.SIGKILL)
        self._processes[before].wait()
        self._processes[1 - before].send_signal(signal.SIGCONT)
        wait_until(lambda: self._master() == 1 - before, "the failover", RECOVERY_SECONDS)
        self._processes[before] = self._start(before, "--replicaof", "127.0.0.1", str(self._ports[1 - before]))
        return 0


def promoted(house: House, stack: ExitStack) -> Stage:
    pair = Pair(house, stack)
    return Stage(house, pair.hold_the_replica, pair.promote_it, pair.redis)


STAGES = {"emptied": emptied, "set back": set_back, "stopped": stopped}


@pytest.fixture(params=[*STAGES, "promoted"])
def stage(request, tmp_path, settings, transactional_db) -> Iterator[Stage]:
    with ExitStack() as stack:
        house = House(tmp_path, stack)
        stage = promoted(house, stack) if request.param == "promoted" else STAGES[request.param](house)
        settings.REDIS_URL = house.redis_url
        clients.sync_client.cache_clear()
        yield stage
        clients.sync_client.cache_clear()


class Customer:
    """Uses up a quota, and knows how much must be left of it: exactly, unless a 503 hides whether a call was counted."""

    def __init__(self, house: House, text: str, key: str) -> None:
        self._house, self.text, self._key = house, text, key
        self.used = self.hidden = 0
        self.left = QUOTA

    def call(self) -> None:
        """Until it is let in."""
        while (answer := self._house.ask(self.text)).status != 200:
            assert answer.status == 503
            self.hidden += 1
        self.used += 1
        found = re.search(r'"day";r=(\d+)', answer.getheader("RateLimit") or "")
        assert found is not None
        self.left = int(found[1])

    def check(self) -> None:
        assert QUOTA - self.used - self.hidden <= self.left <= QUOTA - self.used
        self.used, self.hidden = QUOTA - self.left, 0

    def is_copied(self) -> bool:
        return sum(UsageHour.objects.filter(key=self._key).values_list("allowed", flat=True)) >= self.used


def is_mended(stage: Stage) -> bool:
    """Whether the worker is done with the Redis that is in charge now."""
    with suppress(redis.RedisError), stage.redis() as client:
        seen = SeenStore.objects.filter(pk=1).values_list("identity", flat=True).first()
        return bool(client.exists(names.LIFE)) and seen == client.info("server")["run_id"]
    return False


def test_a_redis_that_forgets_again_and_again_lets_no_revoked_key_in_and_no_quota_grow(
    stage: Stage, catalogue, redis_db
):
    house = stage.house
    catalogue(WITH_QUOTA)
    account = create_account("acme", Plan.objects.get(name="pro"), external_id="acme-1", actor=ACTOR)[0]
    made = issue_key(account, name="good", actor=ACTOR)
    customer = Customer(house, made.text, made.key.public_id)
    house.sample = made.text
    house.start_gates()
    house.start_worker()
    customer.call()
    revoked: list[str] = []

    for number in range(ROUNDS):
        doomed = issue_key(create_account(f"other {number}", account.plan, actor=ACTOR)[0], name="doomed", actor=ACTOR)
        house.wait_for(doomed.text, 200)
        stage.prepare()
        for _ in range(CALLS):
            customer.call()
        customer.check()
        wait_until(customer.is_copied, "the worker copying", RECOVERY_SECONDS)
        revoke_key(doomed.key, actor=ACTOR)
        revoked.append(doomed.text)
        house.wait_for(doomed.text, 401)

        customer.hidden += stage.strike()
        wait_until(lambda: is_mended(stage), "the worker mending", RECOVERY_SECONDS)
        house.wait_for(doomed.text, 401)
        assert {status for text in revoked for status in house.statuses(text, 3)} <= {401, 503}
        customer.call()
        customer.check()
    assert customer.used >= ROUNDS * (CALLS + 1)
