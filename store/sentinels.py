"""Redis Sentinel, all asked at once: the first to name a master is believed, and a dead one delays nobody.

redis-py asks one after another, so a sentinel that accepts and never answers would cost each process its time limit.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from store.address import RedisAddress

Where = tuple[str, int]


class Sentinels(Sentinel):
    """For redis-py's ordinary clients."""

    def discover_master(self, service_name: str) -> Where:
        """Raises MasterNotFoundError, which quotes each sentinel's answer."""
        pool = ThreadPoolExecutor(len(self.sentinels), thread_name_prefix="sentinel")
        answers = [pool.submit(self._ask, sentinel, service_name) for sentinel in self.sentinels]
        pool.shutdown(wait=False)
        refusals = []
        for answer in as_completed(answers):
            found = answer.result()
            if isinstance(found, tuple):
                return found
            refusals.append(found)
        raise MasterNotFoundError(_nobody(service_name, refusals))

    def _ask(self, sentinel: Any, service_name: str) -> Where | str:
        try:
            state = sentinel.sentinel_master(service_name)
        except (RedisError, OSError) as error:
            return _refusal(sentinel, error)
        return _master(self, sentinel, state, service_name)


class AsyncSentinels(redis.asyncio.Sentinel):
    """For the pipes, and for redis-py's asyncio clients."""

    async def discover_master(self, service_name: str) -> Where:
        """Raises MasterNotFoundError, which quotes each sentinel's answer."""
        asked = [asyncio.ensure_future(self._ask(sentinel, service_name)) for sentinel in self.sentinels]
        try:
            refusals = []
            for answer in asyncio.as_completed(asked):
                found = await answer
                if isinstance(found, tuple):
                    return found
                refusals.append(found)
            raise MasterNotFoundError(_nobody(service_name, refusals))
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _ask(self, sentinel: Any, service_name: str) -> Where | str:
        try:
            state = await sentinel.sentinel_master(service_name)
        except (RedisError, OSError) as error:
            return _refusal(sentinel, error)
        return _master(self, sentinel, state, service_name)

    async def close_all(self) -> None:
        for sentinel in self.sentinels:
            with suppress(RedisError, OSError):
                await sentinel.aclose()


def sentinels(address: RedisAddress, seconds: float) -> Sentinels:
    options = _options(address, seconds) | {"retry": Retry(NoBackoff(), 0)}
    return Sentinels(address.nodes, sentinel_kwargs=options)  # type: ignore[no-untyped-call]


def async_sentinels(address: RedisAddress, seconds: float) -> AsyncSentinels:
    options = _options(address, seconds) | {"retry": AsyncRetry(NoBackoff(), 0)}
    return AsyncSentinels(address.nodes, sentinel_kwargs=options)  # type: ignore[no-untyped-call]


def _options(address: RedisAddress, seconds: float) -> dict[str, Any]:
    """The sentinels' own login and TLS, and a single attempt."""
    return {
        **address.sentinel_login.options(),
        **(address.sentinel_tls.options() if address.sentinel_tls else {}),
        "protocol": 2,
        "socket_connect_timeout": seconds,
        "socket_timeout": seconds,
    }


def _master(sentinel: Any, client: Any, state: dict[str, Any], service_name: str) -> Where | str:
    """The master, unless this sentinel itself considers it down."""
    if sentinel.check_master_state(state, service_name):
        return str(state["ip"]), int(state["port"])
    return f"{_name(client)}: its master is down"


def _refusal(client: Any, error: Exception) -> str:
    return f"{_name(client)}: {type(error).__name__}"


def _name(client: Any) -> str:
    where = client.connection_pool.connection_kwargs
    return f"{where['host']}:{where['port']}"


def _nobody(service_name: str, refusals: list[str]) -> str:
    return f"no sentinel names a master of {service_name!r} ({', '.join(sorted(refusals))})"
