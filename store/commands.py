"""Redis commands as values: the gate sends them packed through its pipes, everyone else runs them with redis-py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1
from pathlib import Path
from typing import Any, Protocol

Argument = str | bytes | int


def pack(*args: Argument, to_come: int = 0) -> bytes:
    """A command in RESP, ready to be sent any number of times: whole, or without the arguments that are to come."""
    return b"*%d\r\n" % (len(args) + to_come) + b"".join(map(pack_argument, args))


def pack_argument(arg: Argument) -> bytes:
    raw = arg if isinstance(arg, bytes) else str(arg).encode()
    return b"$%d\r\n%b\r\n" % (len(raw), raw)


remembered_argument = lru_cache(4096)(pack_argument)  # for one that many commands end with, such as a client's address


class Sendable(Protocol):
    """A command that can go either way."""

    def packed(self) -> bytes: ...

    def run(self, client: Any) -> Any:
        """Execute it with a client of redis-py, or queue it in a pipeline; an asyncio client returns an awaitable."""


@dataclass(frozen=True, slots=True)
class RedisCommand:
    args: tuple[Argument, ...]

    def packed(self) -> bytes:
        return pack(*self.args)

    def run(self, client: Any) -> Any:
        return client.execute_command(*self.args)


def command(*args: Argument) -> RedisCommand:
    return RedisCommand(args)


class Script:
    """A Lua script: its source, and the digest that names it on the wire."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = sha1(source.encode(), usedforsecurity=False).hexdigest()

    @classmethod
    def in_file(cls, path: Path) -> Script:
        return cls(path.read_text(encoding="utf-8"))

    def call(self, keys: Sequence[str], args: Sequence[Argument]) -> ScriptCall:
        return ScriptCall(self, tuple(keys), tuple(args))


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One run of a script. It goes packed by digest, which is short, and by redis-py with its source, so that no change
    fails because somebody flushed the scripts."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[Argument, ...]

    def packed(self, *, to_come: int = 0) -> bytes:
        return pack("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.args, to_come=to_come)

    def packed_with_source(self) -> bytes:
        return pack("EVAL", self.script.source, len(self.keys), *self.keys, *self.args)

    def run(self, client: Any) -> Any:
        return client.execute_command("EVAL", self.script.source, len(self.keys), *self.keys, *self.args)

    def run_loaded(self, pipeline: Any) -> Any:
        """Queue it by digest, behind a run with the source."""
        return pipeline.execute_command("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.args)
