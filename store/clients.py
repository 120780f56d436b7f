"""redis-py's clients, one for each process: for the control plane, and for commands that a pipe may not send."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import redis
import redis.asyncio
from django.conf import settings
from redis.asyncio.cluster import ClusterNode as AsyncNode
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import NoPermissionError, NoScriptError, RedisClusterException
from redis.retry import Retry

from store import keepalive
from store.address import RedisAddress, read_address
from store.commands import Script, ScriptCall, Sendable
from store.condition import Condition, read_condition
from store.keepalive import PING_SECONDS
from store.sentinels import async_sentinels, sentinels

READ_SECONDS = 2.0


class StoreUnavailable(Exception):
    """Redis did not answer in time, or did not give a usable answer."""


class StoreRefused(StoreUnavailable):
    """Redis is up, but this command got no answer: too many are waiting, or it failed."""


class Cluster(RedisCluster):
    """redis-py's cluster client, with its own exceptions turned into RedisError, which all callers handle."""

    def __init__(self, **options: Any) -> None:
        with _as_redis_errors():
            super().__init__(**options)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        with _as_redis_errors():
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]


@contextmanager
def _as_redis_errors() -> Iterator[None]:
    try:
        yield
    except RedisClusterException as error:
        raise redis.ConnectionError(str(error)) from error


def address() -> RedisAddress:
    """Where Redis is, by the settings. Raises BadAddress."""
    return read_address(str(settings.REDIS_URL))


def is_cluster() -> bool:
    return address().kind == "cluster"


def minds_slots() -> bool:
    """Whether a command may only touch keys of one slot: in a cluster, even a single shard configured as a plain Redis.

    Raises RedisError."""
    if is_cluster():
        return True
    (info,) = infos(sync_client(), "cluster")
    return bool(
        info.get("cluster_enabled", True)
    )  # if it is not known, one slot at a time works everywhere, only slower


@cache
def sync_client() -> Any:
    """The client of commands, pages and the worker. Raises RedisError if it cannot be created."""
    where, seconds = address(), float(settings.REDIS_CONNECT_SECONDS)
    options = {**_options(where, seconds, READ_SECONDS), "decode_responses": True}
    if where.kind == "cluster":
        startup = [ClusterNode(host, port) for host, port in where.nodes]
        options["socket_connect_timeout"] = seconds / len(startup)  # they are asked one after another
        return Cluster(startup_nodes=startup, retry=Retry(NoBackoff(), 3), **options)
    retry: dict[str, Any] = {"retry": Retry(NoBackoff(), 1), "health_check_interval": PING_SECONDS}
    if where.kind == "sentinel":
        masters: Any = sentinels(where, seconds)
        return masters.master_for(where.service, **options, **retry)
    return redis.Redis(**_place(where), **options, **retry)


def async_client(where: RedisAddress, connect_seconds: float, read_seconds: float) -> Any:
    """A client for commands that a pipe may not send itself; made once for each event loop."""
    options = _options(where, connect_seconds, read_seconds)
    if where.kind == "cluster":
        startup = [AsyncNode(host, port) for host, port in where.nodes]
        options["socket_connect_timeout"] = connect_seconds / len(startup)
        return AsyncRedisCluster(startup_nodes=startup, health_check_interval=PING_SECONDS, **options)
    retry: dict[str, Any] = {"retry": AsyncRetry(NoBackoff(), 0), "health_check_interval": PING_SECONDS}
    if where.kind == "sentinel":
        return async_sentinels(where, connect_seconds).master_for(where.service, **options, **retry)
    return redis.asyncio.Redis(**_place(where), **options, **retry)


def _options(where: RedisAddress, connect_seconds: float, read_seconds: float) -> dict[str, Any]:
    """Options for every topology. RESP2 signs in with AUTH, which no ACL forbids; RESP3 would need HELLO."""
    return {
        **where.login.options(),
        **({} if where.kind == "cluster" else {"db": where.db}),
        **(where.tls.options() if where.tls else {}),
        **({} if where.path else {"socket_keepalive": True, "socket_keepalive_options": keepalive.OPTIONS}),
        "protocol": 2,
        "socket_connect_timeout": connect_seconds,
        "socket_timeout": read_seconds,
    }


def _place(where: RedisAddress) -> dict[str, Any]:
    if where.path:
        return {"unix_socket_path": where.path}
    ((host, port),) = where.nodes
    return {"host": host, "port": port}


def send_all(commands: Iterable[Sendable]) -> list[Any]:
    """Send commands together; their replies, in order. Raises RedisError."""
    sent = list(commands)
    pipeline = sync_client().pipeline(transaction=False)
    loaded: set[Script] = set()
    for command in sent:
        if isinstance(command, ScriptCall) and command.script in loaded:
            command.run_loaded(pipeline)
            continue
        command.run(pipeline)
        if isinstance(command, ScriptCall) and not is_cluster():  # there, a pipeline goes to several servers
            loaded.add(command.script)
    with _as_redis_errors():
        replies: list[Any] = pipeline.execute(raise_on_error=False)
    return [_settled(command, reply) for command, reply in zip(sent, replies, strict=True)]


def _settled(command: Sendable, reply: Any) -> Any:
    if isinstance(reply, NoScriptError):  # somebody flushed the scripts meanwhile, so it was not executed
        return command.run(sync_client())
    if isinstance(reply, Exception):
        raise reply
    return reply


def conditions() -> list[Condition]:
    """The state of each master's memory. Raises RedisError, but not where INFO is forbidden."""
    return [read_condition(info) for info in infos(sync_client(), "memory")]


def infos(client: Any, section: str) -> list[dict[str, Any]]:
    """A section of INFO from each master, in a stable order; empty where INFO is forbidden. Raises RedisError."""
    try:
        info = client.info(section, target_nodes="primaries") if is_cluster() else client.info(section)
    except NoPermissionError:
        client.ping()  # it is up, which is all that it may tell
        return [{}]
    by_node = bool(info) and all(isinstance(value, dict) for value in info.values())
    return [info[node] for node in sorted(info)] if by_node and is_cluster() else [info]
