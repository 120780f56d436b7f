"""Redis as the control plane and the fallback path use it: redis-py's ordinary clients, one for each process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import redis
import redis.asyncio
from django.conf import settings
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")
CONNECT_SECONDS = 0.5
READ_SECONDS = 2.0


class StoreUnavailable(Exception):
    """Redis did not answer in time, or not with an answer."""


class StoreRefused(StoreUnavailable):
    """Redis is there and answers, but not this question: too much waits, or it reported an error."""


def kind(url: str) -> str:
    """single, sentinel or cluster."""
    scheme = urlsplit(url).scheme
    return {"redis+sentinel": "sentinel", "redis+cluster": "cluster"}.get(scheme, "single")


def can_be_read(url: str) -> bool:
    """Is this an address that the clients below understand? Connects to nothing."""
    try:
        if urlsplit(url).scheme not in SCHEMES:
            return False
        match kind(url):
            case "sentinel":
                sentinel_options(url)
            case "cluster":
                cluster_options(url)
            case _:
                redis.Redis.from_url(url)
    except ValueError:
        return False
    return True


def is_cluster() -> bool:
    return kind(str(settings.REDIS_URL)) == "cluster"


def minds_slots() -> bool:
    """Whether a command may touch keys of one slot only: a cluster, also one of a single shard that is named as a plain
    Redis. Raises RedisError."""
    return is_cluster() or bool(sync_client().info("cluster").get("cluster_enabled"))


def _nodes(url: str) -> list[tuple[str, int]]:
    hosts = urlsplit(url).netloc.rpartition("@")[2]
    return [(host, int(port or 6379)) for host, _, port in (part.partition(":") for part in hosts.split(","))]


def _login(url: str) -> dict[str, Any]:
    user, _, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    return {"username": unquote(user) or None, "password": unquote(password) or None}


def sentinel_options(url: str) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """redis+sentinel://user:password@host:26379,host2:26379/SERVICE/DB: sentinels, service, the master's options."""
    service, _, db = urlsplit(url).path.lstrip("/").partition("/")
    return _nodes(url), service or "mymaster", {**_login(url), "db": int(db or 0)}


def cluster_options(url: str) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """redis+cluster://user:password@host:6379,host2:6379?ssl=1: start-up nodes and options."""
    query = parse_qs(urlsplit(url).query)
    return _nodes(url), {**_login(url), "ssl": query.get("ssl", ["0"])[0] in ("1", "true")}


@cache
def sync_client() -> Any:
    """The client of commands, pages and the worker."""
    url = str(settings.REDIS_URL)
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": READ_SECONDS,
        "decode_responses": True,
    }
    if kind(url) == "sentinel":
        sentinels, service, login = sentinel_options(url)
        return Sentinel(sentinels, socket_timeout=CONNECT_SECONDS).master_for(service, **login, **options)
    if kind(url) == "cluster":
        nodes, login = cluster_options(url)
        startup = [ClusterNode(host, port) for host, port in nodes]
        return RedisCluster(startup_nodes=startup, **login, **options)
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 1), **options)


def async_client(url: str, seconds: float) -> Any:
    """A client for what the pipe may not send itself; made once for each event loop."""
    options: dict[str, Any] = {"socket_connect_timeout": seconds, "socket_timeout": seconds}
    if kind(url) == "sentinel":
        sentinels, service, login = sentinel_options(url)
        sentinel = redis.asyncio.Sentinel(sentinels, socket_timeout=seconds)
        return sentinel.master_for(service, **login, **options)
    if kind(url) == "cluster":
        nodes, login = cluster_options(url)
        startup = [redis.asyncio.cluster.ClusterNode(host, port) for host, port in nodes]
        return AsyncRedisCluster(startup_nodes=startup, **login, **options)
    return redis.asyncio.Redis.from_url(url, retry=AsyncRetry(NoBackoff(), 0), **options)


def send_all(commands: Iterable[Sequence[Any]]) -> list[Any]:
    """The replies to commands that are sent together, in their order. Raises RedisError."""
    pipeline = sync_client().pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    replies: list[Any] = pipeline.execute()
    return replies


def wrong_policies(client: Any) -> list[str]:
    """The eviction policies, other than noeviction, that its masters have. Raises RedisError.

    A store that evicts would forget counters and revocations. CONFIG is forbidden at many providers, INFO is not.
    """
    return sorted(eviction_policies(client.info("memory")) - {"noeviction"})


def eviction_policies(info: dict[str, Any]) -> set[str]:
    """The policy INFO tells; a cluster's client tells it node by node."""
    nodes = [info] if "maxmemory_policy" in info else info.values()
    return {str(node["maxmemory_policy"]) for node in nodes}


def script(path: Path) -> str:
    """A Lua script's source."""
    return path.read_text(encoding="utf-8")


LUA = Path(__file__).parent / "lua"
