"""Requests at a steady rate through Traefik, in the background, and their results."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Asked:
    """One kind of request: its Host header, path, and key if any."""

    host: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    expected: int = 200


@dataclass
class Traffic:
    """`with Traffic(port, kinds):` every kind is asked `each_second` times a second, half of them over a connection that
    is kept, half over a new one. A connection that breaks is a failure like a wrong status: there is no second try."""

    port: int
    kinds: tuple[Asked, ...]
    each_second: float = 10
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    late: int = 0  # a gate ran out of time: its 250 ms are short while a busy machine starts a dozen Pythons
    longest: float = 0

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._ask_on, args=(kind, keep, turn))
            for kind in self.kinds
            for turn, keep in enumerate((True, False))
        ]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self, kind: Asked, keep: bool, turn: int) -> None:
        pause = 2 / self.each_second
        connection = self._connection()
        self._over.wait(turn * pause / 2)
        while not self._over.is_set():
            began = time.monotonic()
            if not self._ask(kind, connection) or not keep:
                connection.close()
                connection = self._connection()
            self._over.wait(max(0, began + pause - time.monotonic()))
        connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def _ask(self, kind: Asked, connection: http.client.HTTPConnection) -> bool:
        began = time.monotonic()
        try:
            connection.request("GET", kind.path, headers={"Host": kind.host, **dict(kind.headers)})
            answer = connection.getresponse()
            body = answer.read()
            what = str(answer.status)
        except (OSError, http.client.HTTPException) as error:
            answer, body, what = None, b"", repr(error)
        took = time.monotonic() - began
        with self._lock:
            self.counts[f"{kind.host} {what}"] += 1
            self.longest = max(self.longest, took)
            if answer is not None and answer.status == 503 and b"/errors/cannot_decide" in body:
                self.late += 1
            elif answer is None or answer.status != kind.expected:
                self.failures.append(f"{began - self._began:.1f} s: {kind.host}{kind.path} {what} {body[:200]!r}")
        return answer is not None and not answer.will_close

    @property
    def asked(self) -> int:
        return sum(self.counts.values())

    def told(self) -> str:
        """One line with the figures, shown by `pytest -rP`."""
        return (
            f"{self.asked} requests, {len(self.failures)} failed, {self.late} too late, the longest took {self.longest:.2f} s\n"
            + "\n".join(self.failures[:5])
        )
