"""Sentinels are asked by their own login, and believed unless they consider their master down."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import RedisError

from store.address import read_address
from store.sentinels import Where, async_sentinels, sentinels
from tests.store.test_pipe import Fake

HEALTHY = b"master"


def naming(port: int, flags: bytes = HEALTHY):
    """How a sentinel answers that names a master at this port, in this state."""

    async def answer(command: list[bytes], writer: asyncio.StreamWriter) -> None:
        if command[0] != b"SENTINEL":
            writer.write(b"+OK\r\n")
            return
        state = {b"ip": b"127.0.0.1", b"port": b"%d" % port, b"flags": flags, b"num-other-sentinels": b"2"}
        words = [word for pair in state.items() for word in pair]
        writer.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))

    return answer


async def discovered(*fakes: Fake, options: str = "", asks=async_sentinels) -> Where:
    hosts = ",".join(f"127.0.0.1:{fake.port}" for fake in fakes)
    asked = asks(read_address(f"redis+sentinel://redis:r3dis@{hosts}/main{options}"), 20.0)
    try:
        found = (
            asked.discover_master("main")
            if asks is async_sentinels
            else asyncio.to_thread(asked.discover_master, "main")
        )
        where: Where = await found
        return where
    finally:
        if asks is async_sentinels:
            await asked.close_all()


@pytest.mark.parametrize("asks", [async_sentinels, sentinels])
@pytest.mark.parametrize("flags", [b"s_down,master", b"o_down,master", b"slave"])
def test_a_sentinel_that_considers_its_master_down_is_not_believed(on_a_loop, asks, flags):
    async def run() -> None:
        async with Fake(naming(1, flags)) as doubtful, Fake(naming(2)) as healthy:
            assert await discovered(doubtful, healthy, asks=asks) == ("127.0.0.1", 2)
            with pytest.raises(RedisError, match="its master is down"):
                await discovered(doubtful, asks=asks)

    on_a_loop(run())


@pytest.mark.parametrize("asks", [async_sentinels, sentinels])
@pytest.mark.parametrize(
    ("options", "login"),
    [("", None), ("?sentinel_username=watch&sentinel_password=w4tch", [b"AUTH", b"watch", b"w4tch"])],
)
def test_a_sentinel_gets_its_own_login_and_never_that_of_redis(on_a_loop, asks, options, login):
    async def run() -> None:
        async with Fake(naming(2)) as sentinel:
            await discovered(sentinel, options=options, asks=asks)
            assert [command for command in sentinel.seen if command[0] == b"AUTH"] == ([login] if login else [])

    on_a_loop(run())


@pytest.mark.parametrize("make", [async_sentinels, sentinels])
@pytest.mark.parametrize(
    ("url", "has_tls"),
    [
        ("redis+sentinel://a/main", False),
        ("rediss+sentinel://a/main", False),
        ("redis+sentinel://a/main?sentinel_ssl=1", True),
        ("rediss+sentinel://a/main?sentinel_ssl=1", True),
    ],
)
def test_tls_to_the_sentinels_is_apart_from_tls_to_redis(on_a_loop, make, url, has_tls):
    async def run() -> dict[str, object]:
        options: dict[str, object] = make(read_address(url), 1.0).sentinel_kwargs
        return options

    assert ("ssl" in on_a_loop(run())) is has_tls
