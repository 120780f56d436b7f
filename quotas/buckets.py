"""The Python side of lua/take.lua: what a call is to take, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from time import time
from typing import NamedTuple

from quotas.limits import HOUR_SECONDS, SECOND, SMOOTHED, Limit, calendar_window
from runtime.errand import due_by
from store import names
from store.clients import StoreUnavailable
from store.commands import Script, ScriptCall, remembered_argument
from store.link import Link
from store.pipe import Reply

TAKE = Script.in_file(Path(__file__).parent / "lua" / "take.lua")
STALE, HOUR, UNLOADED, SHADOW = -1, -2, -3, 2

_double = Struct("<d").pack

Mode = str  # TAKING, PEEKING, or the word of the rule that refused the call
TAKING, PEEKING = "take", "peek"


class Versions(NamedTuple):
    """The versions of the facts behind a decision; 0 for a part that Redis does not have."""

    catalogue: int
    account: int
    key: int


class Tally(NamedTuple):
    """What came of a call. `meters` has two numbers for each limit that is not in shadow: what is left, and the
    seconds until it is whole again. `violated` are the positions of the limits that refused, `wait` is in seconds.
    `shadow_refused`: it was granted, and a limit in shadow would have refused it."""

    granted: bool
    meters: tuple[int, ...]
    wait: int = 0
    violated: tuple[int, ...] = ()
    shadow_refused: bool = False


class Stale(NamedTuple):
    """Nothing was taken: these versions are in force, and not the caller's."""

    versions: Versions


class Unloaded(NamedTuple):
    """Nothing was taken: a calendar counter has to be loaded from the ledger first."""


class _RedisClock:
    """Redis keeps the time; this is our estimate of it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def hour(self) -> int:
        return int((time() + self.ahead) // 3600)

    def set(self, microseconds: int) -> None:
        self.ahead = microseconds / SECOND - time()


clock = _RedisClock()


class Charge:
    """What a call of one key to one model takes: everything that the script is told, packed once an hour."""

    __slots__ = ("_packed", "cost", "key_id", "limits", "model", "partition", "secret", "shown", "versions")

    def __init__(
        self, key_id: str, model: str, cost: int, limits: Sequence[Limit], versions: Versions, secret: int = 0
    ) -> None:
        self.key_id, self.model, self.cost, self.versions, self.secret = key_id, model, cost, versions, secret
        self.partition = names.partition(key_id)
        self.limits = tuple(limits)
        shown = tuple(limit for limit in limits if not limit.shadow)
        # Usually the same tuple: there is one of these for each key in the cache.
        self.shown = self.limits if len(shown) == len(self.limits) else shown
        self._packed: tuple[Mode, int, bytes] = ("", 0, b"")

    def packed(self, mode: Mode, hour: int, address: str = "") -> bytes:
        """The packed call. All except the client's address stays the same for a key, model and hour."""
        packed = self._packed
        if packed[0] != mode or packed[1] != hour:
            packed = self._packed = (mode, hour, self._call(mode, hour).packed(to_come=1))
        return packed[2] + remembered_argument(address)

    def call(self, mode: Mode, hour: int, address: str = "") -> ScriptCall:
        """The call of take.lua in this hour (hours since 1970) for a client at this address."""
        call = self._call(mode, hour)
        return TAKE.call(call.keys, [*call.args, address])

    def _call(self, mode: Mode, hour: int) -> ScriptCall:
        """The call without its last argument, the address."""
        account, key = self.key_id[: len(self.key_id) // 2], self.key_id
        keys = [
            names.account(account),
            names.usage(key, self.model, hour),
            names.changed(self.partition),
            names.catalogue_version(self.partition),
        ]
        fields = [names.field(names.VERSION), names.field(names.VERSION, key)]
        limits: list[str | int] = []
        for limit in self.limits:
            subject = account if limit.scope == "account" else key
            common: list[str | int] = [
                int(limit.shadow),
                limit.cost_of(self.cost),
                limit.amount,
                ":".join(limit.identity),
            ]
            if limit.is_smoothed:
                keys.append(names.bucket(subject, limit.model, limit.unit, limit.window))
                limits += [1, *common, SMOOTHED[limit.window], limit.room]
            else:
                window = calendar_window(limit.window, hour)
                start = window.start * SECOND
                taken, in_window, since = names.counter(subject[-8:], limit.model, limit.unit, limit.window)
                fields += (taken, in_window)
                limits += [0, *common, window.number, start, window.end, limit.since if limit.since > start else 0]
                limits.append(f"{names.field(names.LOADED, '' if subject == account else key)} {since}")
        use = f"u:{self.secret}", f"f:{self.secret}"
        head: list[str | int] = [hour * HOUR_SECONDS, mode, *map(str, self.versions), *use, self.cost]
        return TAKE.call(keys, packed_for_lua(*head, len(head) + 1 + len(fields), *fields, *limits))


def packed_for_lua(*values: str | int) -> tuple[bytes, bytes]:
    """The format by which Lua takes the values apart, and the values: doubles, and strings that end in a zero byte."""
    form, parts = ["<"], []
    for value in values:
        if value.__class__ is str:
            form.append("s")
            parts.append(value.encode() + b"\0")
        else:
            form.append("d")
            parts.append(_double(value))
    return "".join(form).encode(), b"".join(parts)


async def take(
    link: Link, charge: Charge, deadline: float, mode: Mode = TAKING, address: str = ""
) -> Tally | Stale | Unloaded:
    """Take one call from all limits or from none, and count it. Raises StoreUnavailable or TimeoutError.

    `deadline` is in monotonic seconds: the pipe keeps it in the first round trip. `address` is that of the client.
    """
    hour = clock.hour()
    reply = await link.send(charge.partition, charge.packed(mode, hour, address), deadline)
    if reply.__class__ is list and reply[0] != HOUR:
        return _outcome(reply[0], reply, len(charge.shown))
    async with due_by(deadline):
        return await _take_again(link, charge, mode, address, hour, reply)


async def _take_again(
    link: Link, charge: Charge, mode: Mode, address: str, hour: int, reply: Reply
) -> Tally | Stale | Unloaded:
    """After an error that means "not executed", or because Redis is in a different hour."""
    for _ in range(3):
        if reply.__class__ is not list:
            reply = await link.again(charge.partition, charge.call(mode, hour, address), reply)
        if reply[0] != HOUR:
            return _outcome(reply[0], reply, len(charge.shown))
        clock.set(reply[1])
        hour = clock.hour()
        reply = await link.send(charge.partition, charge.packed(mode, hour, address))
    raise StoreUnavailable("redis's clock keeps changing its hour")


def _outcome(code: int, reply: Reply, shown: int) -> Tally | Stale | Unloaded:
    if code == 1:
        return Tally(True, tuple(reply[1:]))
    if code == SHADOW:
        return Tally(True, tuple(reply[1:]), shadow_refused=True)
    if code == 0:
        end = 1 + 2 * shown
        # A refusal by the rules has no meters and no wait.
        return Tally(False, tuple(reply[1:end]), *((reply[end], tuple(reply[end + 1 :])) if len(reply) > end else ()))
    return Stale(Versions(*reply[1:4])) if code == STALE else Unloaded()
