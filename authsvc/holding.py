"""Answers 429 are held back for a moment: a client that asks again at once would take the CPU from everyone else.

A refusal costs nearly as much as a page, so 20 connections guessing passwords in a loop made the API twenty times
slower. Held, they get 20 answers a second. Only a coroutine waits, no thread: docs/decisions/0049.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from console.proxies import client_of
from store.throttles import network_of

Message = Mapping[str, Any]
Scope = Mapping[str, Any]

HELD_SECONDS = 1.0
GAP_SECONDS = 0.05  # between two answers to one network
LONGEST_SECONDS = 10.0
MOST_OF_A_NETWORK = 200  # from then on its sign-ins are refused before Django
MOST = 1024  # in one process, of a page each

# Where passwords, codes and links are guessed.
_DOORS = ("/login/", "/accounts/", "/admin/login/", "/first-operator/", "/invitations/")


class Outgoing:
    """Django's answer on its way out, kept back if it is a 429."""

    def __init__(self, send: Callable[[Message], Awaitable[None]]) -> None:
        self.send = send
        self.kept: list[Message] = []

    async def __call__(self, message: Message) -> None:
        if self.kept or message.get("status") == HTTPStatus.TOO_MANY_REQUESTS:
            self.kept.append(message)
        else:
            await self.send(message)

    async def let_go(self) -> None:
        for message in self.kept:
            await self.send(message)


@dataclass(slots=True)
class _Network:
    held: int = 0
    last: float = 0.0  # when the last of its answers goes

    def next(self, now: float) -> float:
        self.last = min(max(now + HELD_SECONDS, self.last + GAP_SECONDS), now + LONGEST_SECONDS)
        return self.last - now


class Held:
    """The answers that a process holds back, for each network that asked."""

    def __init__(self) -> None:
        self._networks: dict[tuple[bool, str], _Network] = {}
        self._number = 0

    def is_full_for(self, scope: Scope) -> bool:
        """Whether this is a guess, and its network has as many refusals on hold as it may have."""
        if not self._networks or scope["method"] != "POST" or not scope["path"].startswith(_DOORS):
            return False
        network = self._networks.get(_origin(scope))
        return network is not None and network.held >= MOST_OF_A_NETWORK

    async def hold(self, scope: Scope) -> None:
        """Return when the answer may go. A client that leaves earlier gains no place by it."""
        if self._number >= MOST:
            return
        origin = _origin(scope)
        network = self._networks.setdefault(origin, _Network())
        network.held += 1
        self._number += 1
        try:
            await asyncio.sleep(network.next(asyncio.get_running_loop().time()))
        finally:
            self._number -= 1
            network.held -= 1
            if not network.held:
                del self._networks[origin]


def _origin(scope: Scope) -> tuple[bool, str]:
    """Programs apart from people: one that calls the API too often must keep nobody from signing in."""
    return scope["path"].startswith("/api/"), network_of(client_of(scope))
