"""The gate's link to Redis: which pipe leads to an account's partition, and what may be sent twice."""

from __future__ import annotations

import asyncio
import logging
import ssl
from binascii import crc_hqx
from hashlib import sha1
from typing import Any

import hiredis
import redis.asyncio
from django.conf import settings
from redis.exceptions import RedisClusterException, RedisError

from quotas import store
from quotas.pipe import CONNECT_SECONDS, DECISION_SECONDS, Connect, Pipe, Reply, pack, shut, unpack
from quotas.store import StoreRefused, StoreUnavailable

# Replies that mean "not executed": the command may go again, by a client that knows scripts, slots and masters.
_NOT_EXECUTED = ("NOSCRIPT", "MOVED", "ASK", "TRYAGAIN", "LOADING", "READONLY")
_SLOTS = 16384
_LOOK_AGAIN_SECONDS = 1.0

# What redis-py raises when it cannot ask. The exceptions of its cluster client are no RedisError, and an empty slot map
# is a KeyError.
_CANNOT_ASK = (RedisError, RedisClusterException, KeyError, TimeoutError, OSError)


log = logging.getLogger(__name__)


class Script:
    """A Lua script: its source, and the digest that names it on the wire."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = sha1(source.encode(), usedforsecurity=False).hexdigest()

    def command(self, keys: list[str], args: list[str | int]) -> bytes:
        return pack("EVALSHA", self.sha, len(keys), *keys, *args)


class Link:
    """Every way from one event loop to Redis."""

    def __init__(self, url: str) -> None:
        self._url, self._kind = url, store.kind(url)
        self._client: Any = None
        self._scripts: dict[bytes, str] = {}
        self._loading: dict[tuple[str, bytes], asyncio.Future[Reply]] = {}
        self._pipes: dict[str, Pipe] = {}
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")
        if self._kind == "cluster":
            self._client = store.async_client(url, DECISION_SECONDS)
        else:
            self._pipe = self._pipes["master"] = Pipe(self._to_master(), self._hello())

    def knows(self, *scripts: Script) -> None:
        """Scripts that may be loaded again when Redis has forgotten them."""
        for script in scripts:
            self._scripts[script.sha.encode()] = script.source

    def open(self) -> None:
        """Begin to connect before the first question."""
        if self._kind != "cluster":
            self._pipe.open()

    def send(self, partition: str, command: bytes) -> asyncio.Future[Reply]:
        """Queue a command for the partition's master. Raises StoreUnavailable, as its future may."""
        return self._pipe.ask(command) if self._kind != "cluster" else self._cluster_pipe(partition).ask(command)

    async def ask(self, partition: str, command: bytes) -> Reply:
        """The reply to a command, sent once more if Redis has not executed it. Raises StoreUnavailable."""
        if self._kind == "cluster":
            await self._learn_slots()
        reply = await self.send(partition, command)
        if isinstance(reply, hiredis.ReplyError):
            return await self.again(partition, command, reply)
        return reply

    async def again(self, partition: str, command: bytes, error: hiredis.ReplyError) -> Reply:
        """Send a command that Redis says it has not executed once more. Raises StoreUnavailable for any other error."""
        word = str(error).partition(" ")[0]
        if word not in _NOT_EXECUTED:
            raise StoreRefused(f"redis answered {word}")
        if word == "NOSCRIPT":
            # All that were in flight find the script gone at once: it is loaded once, and they go the usual way.
            await self._load(partition, unpack(command)[1])
            reply = await self.send(partition, command)
            if not isinstance(reply, hiredis.ReplyError):
                return reply
            word = str(reply).partition(" ")[0]
        if word == "READONLY":
            self._pipe_of(partition).drop()
        return await self._alone(word, unpack(command))

    async def _load(self, partition: str, sha: bytes) -> None:
        loading = self._loading.get((partition, sha))
        if loading is None:
            source = self._scripts.get(sha)
            if source is None:
                raise StoreUnavailable("redis has forgotten a script that nobody can load")
            loading = self._loading[partition, sha] = self.send(partition, pack("SCRIPT", "LOAD", source))
            loading.add_done_callback(lambda _: self._loading.pop((partition, sha), None))
        await asyncio.shield(loading)

    async def _alone(self, word: str, args: list[bytes]) -> Reply:
        """Through redis-py, which knows slots and masters."""
        try:
            async with asyncio.timeout(DECISION_SECONDS):
                if self._client is None:
                    self._client = store.async_client(self._url, DECISION_SECONDS)
                return await self._client.execute_command(args[0].decode(), *args[1:])
        except _CANNOT_ASK as failure:
            raise StoreUnavailable(f"redis answered {word} and could not be asked again") from failure

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        await shut(list(self._pipes.values()))
        if self._client is not None:
            await self._client.aclose()

    def _pipe_of(self, partition: str) -> Pipe:
        return self._pipe if self._kind != "cluster" else self._cluster_pipe(partition)

    # One connection for each master: redis-py keeps the slot map, we keep the pipes.

    async def _learn_slots(self) -> None:
        try:
            async with asyncio.timeout(DECISION_SECONDS):
                await self._client.initialize()
        except _CANNOT_ASK as error:
            raise StoreUnavailable("no node of the redis cluster answers") from error

    def _cluster_pipe(self, partition: str) -> Pipe:
        try:
            node = self._client.nodes_manager.get_node_from_slot(crc_hqx(partition.encode(), 0) % _SLOTS)
        except _CANNOT_ASK as error:
            raise StoreUnavailable("no node of the redis cluster has this partition") from error
        pipe = self._pipes.get(node.name)
        if pipe is not None and pipe.is_broken:
            self._look_for_masters_again()
        if pipe is None:
            _, login = store.cluster_options(self._url)
            pipe = self._pipes[node.name] = Pipe(_tcp(node.host, node.port, _tls(login)), _sign_in(login))
        return pipe

    def _look_for_masters_again(self) -> None:
        """A master that is gone may have a successor: nobody else would ever ask redis-py for a new slot map."""
        loop = asyncio.get_running_loop()
        if self._looking is None and loop.time() - self._looked_at >= _LOOK_AGAIN_SECONDS:
            self._looked_at = loop.time()
            self._looking = loop.create_task(self._renew_slots())

    async def _renew_slots(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_AGAIN_SECONDS):
                await self._client.nodes_manager.initialize()
        except _CANNOT_ASK as error:
            log.warning("no node of the redis cluster says who its masters are (%s)", type(error).__name__)
        else:
            masters = {node.name for node in self._client.get_primaries()}
            for name in [name for name in self._pipes if name not in masters]:
                self._pipes.pop(name).close()
        finally:
            self._looking = None

    def _hello(self) -> list[bytes]:
        if self._kind == "sentinel":
            return _sign_in(store.sentinel_options(self._url)[2])
        return _sign_in(_options(self._url))

    def _to_master(self) -> Connect:
        if self._kind == "sentinel":
            sentinels, service, _ = store.sentinel_options(self._url)
            return _through_sentinel(sentinels, service)
        options = _options(self._url)
        if path := options.get("path"):
            return lambda factory: asyncio.get_running_loop().create_unix_connection(factory, path)
        return _tcp(options.get("host", "127.0.0.1"), int(options.get("port", 6379)), _tls_of_url(self._url, options))


def _options(url: str) -> dict[str, Any]:
    return dict(redis.asyncio.ConnectionPool.from_url(url).connection_kwargs)


def _sign_in(options: dict[str, Any]) -> list[bytes]:
    commands = []
    if options.get("password"):
        commands.append(pack("AUTH", *filter(None, (options.get("username"), options["password"]))))
    if options.get("db"):
        commands.append(pack("SELECT", int(options["db"])))
    return [*commands, pack("CLIENT", "SETNAME", "authsvc-gate")]


def _tcp(host: str, port: int, tls: ssl.SSLContext | None = None) -> Connect:
    return lambda factory: asyncio.get_running_loop().create_connection(
        factory, host, port, ssl=tls, server_hostname=host if tls else None
    )


def _tls(options: dict[str, Any]) -> ssl.SSLContext | None:
    return ssl.create_default_context() if options.get("ssl") else None


def _tls_of_url(url: str, options: dict[str, Any]) -> ssl.SSLContext | None:
    if not url.startswith("rediss://"):
        return None
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if options.get("ssl_certfile"):
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    if str(options.get("ssl_cert_reqs", "required")) == "none":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _through_sentinel(sentinels: list[tuple[str, int]], service: str) -> Connect:
    async def connect(factory: Any) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        sentinel = redis.asyncio.Sentinel(sentinels, socket_timeout=CONNECT_SECONDS)
        try:
            host, port = await sentinel.discover_master(service)
        except RedisError as error:
            raise StoreUnavailable("no sentinel names a master") from error
        finally:
            for client in sentinel.sentinels:
                await client.aclose()
        return await asyncio.get_running_loop().create_connection(factory, host, port)

    return connect


_links: dict[asyncio.AbstractEventLoop, Link] = {}


def link() -> Link:
    """This event loop's link, made on first use."""
    loop = asyncio.get_running_loop()
    found = _links.get(loop)
    if found is None:
        for ended in [known for known in _links if known.is_closed()]:
            del _links[ended]
        found = _links[loop] = Link(str(settings.REDIS_URL))
    return found


async def close_link() -> None:
    """Close this event loop's link, if there is one."""
    found = _links.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()
