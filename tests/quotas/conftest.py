"""take.lua in a real Redis whose clock stands still until a test moves it."""

from __future__ import annotations

from time import time
from typing import NamedTuple

import pytest

from quotas.buckets import TAKE, Charge, Mode, Stale, Tally, Unloaded, Versions, _outcome
from quotas.limits import SECOND, Limit
from store import names

ONES = Versions(1, 1, 1)
KEY = "AAAAAAAAkkkkkkkk"
ACCOUNT = KEY[:8]
HASH = names.account(ACCOUNT)

# Stands before the script: time is what a test says, and when a bucket is to expire is noted and not done.
_STOP = """
local real = redis
local redis = {call = function(command, ...)
  if command == 'TIME' then return real.call('MGET', 'seconds', 'microseconds') end
  if command ~= 'SET' then return real.call(command, ...) end
  local name, value, how, life = ...
  if how == 'PX' then
    local now = real.call('GET', 'seconds') * 1000000 + real.call('GET', 'microseconds')
    real.call('SET', 'expires:' .. name, string.format('%.0f', now + life * 1000))
  elseif how ~= 'KEEPTTL' or real.call('EXISTS', name) == 0 then
    error('a bucket without an expiry')
  end
  return real.call('SET', name, value)
end}
"""
# A reply has no fractions, and a burst may have a half.
_BUCKET = """
local at, amount, burst, debt, forgiven = struct.unpack('<ddddd', redis.call('GET', KEYS[1]))
return {at, amount, burst * 2, debt, forgiven}
"""


class Bucket(NamedTuple):
    """What a bucket holds."""

    at: int
    amount: int
    burst: int
    debt: int
    forgiven: int
    is_settled: bool  # its expiry suffices for this minute of the clock


def read_bucket(client, name: str) -> Bucket | None:
    if not client.exists(name):
        return None
    at, amount, twice_the_burst, debt, forgiven = client.eval(_BUCKET, 1, name)
    return Bucket(at, amount, twice_the_burst // 2, debt, forgiven, bool(twice_the_burst % 2))


class StoppedRedis:
    """Runs take.lua at `now`, in microseconds. Nothing expires meanwhile, however long the test takes."""

    def __init__(self, client) -> None:
        self.client = client
        self.now = int(time() * SECOND)
        self._sha = client.script_load(_STOP + TAKE.source)

    @property
    def hour(self) -> int:
        return self.now // (3600 * SECOND)

    def take(
        self,
        *limits: Limit,
        cost: int = 1,
        mode: Mode = "take",
        address: str = "203.0.113.7",
        versions: Versions = ONES,
        key: str = KEY,
    ) -> Tally | Stale | Unloaded:
        charge = Charge(key, "sm", cost, limits, versions, secret=9)
        reply = self.reply(charge, mode, self.hour, address)
        return _outcome(reply[0], reply, len(charge.shown))

    def reply(self, charge: Charge, mode: Mode, hour: int, address: str = "203.0.113.7") -> list[int]:
        """The script's own reply to a gate that believes it is this hour."""
        call = charge.call(mode, hour, address)
        with self.client.pipeline(transaction=True) as pipe:
            pipe.mset({"seconds": self.now // SECOND, "microseconds": self.now % SECOND})
            pipe.evalsha(self._sha, len(call.keys), *call.keys, *call.args)
            reply: list[int] = pipe.execute()[-1]
        return reply

    def later(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)

    def bucket(self, limit: Limit) -> Bucket | None:
        return read_bucket(self.client, name_of(limit))

    def expires_at(self, limit: Limit) -> int:
        """The microsecond at which the bucket is to expire."""
        return int(self.client.get(f"expires:{name_of(limit)}"))

    def life(self, limit: Limit) -> float:
        """The seconds that the bucket is to live from now on."""
        return (self.expires_at(limit) - self.now) / SECOND

    def expire(self) -> None:
        """Delete the buckets whose time has come."""
        for name in self.client.scan_iter("expires:*"):
            if int(self.client.get(name)) <= self.now:
                self.client.delete(name, name.removeprefix("expires:"))


def name_of(limit: Limit) -> str:
    return names.bucket(KEY if limit.scope == "key" else ACCOUNT, limit.model, limit.unit, limit.window)


@pytest.fixture
def redis(redis_db):
    """A loaded account with version 1 of everything."""
    redis_db.hset(HASH, mapping={"v": 1, names.field("v", KEY): 1, "l": 1, names.field("l", KEY): 1})
    redis_db.set(names.catalogue_version("AA"), 1)
    return redis_db


@pytest.fixture
def stopped(redis):
    return StoppedRedis(redis)


@pytest.fixture
def take(stopped):
    return stopped.take


@pytest.fixture
def later(stopped):
    """Let time pass in Redis."""
    return stopped.later
