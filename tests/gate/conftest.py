"""Questions as Traefik asks them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db.backends.utils import CursorWrapper

from authsvc.gate.answer import Answer
from authsvc.gate.app import gate
from store import pipe

FORWARDED = {"X-Forwarded-Uri": "/sm/ner", "X-Forwarded-Method": "POST", "X-Forwarded-For": "203.0.113.7"}


def question(key: str | None = None, **changes: str | None) -> list[tuple[str, str]]:
    """The headers of a forwarded request; a change to None leaves one out."""
    headers = dict(FORWARDED)
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    for name, value in changes.items():
        header = "-".join(word.title() for word in name.split("_"))
        if value is None:
            headers.pop(header)
        else:
            headers[header] = value
    return list(headers.items())


def raw(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]


@pytest.fixture
def ask(on_a_loop):
    """Ask the bare gate, which keeps its facts from question to question."""

    def ask(key: str | None = None, *, query: str = "model=sm", path: str = "/auth/", **changes: str | None) -> Answer:
        answered: Answer = on_a_loop(_ask(path, query.encode(), raw(question(key, **changes))))
        return answered

    return ask


async def _ask(path: str, query: bytes, headers: list[tuple[bytes, bytes]]) -> Answer:
    return await gate().answer(path, query, headers)


@pytest.fixture
def costs(monkeypatch):
    """Count SQL statements and round trips to Redis, in every thread."""
    counted: Counter[str] = Counter()
    execute, send = CursorWrapper.execute, pipe._Connection.send

    def counting_execute(self, *args, **kwargs):
        counted["sql"] += 1
        return execute(self, *args, **kwargs)

    def counting_send(self, *args, **kwargs):
        counted["round trips"] += 1
        return send(self, *args, **kwargs)

    monkeypatch.setattr(CursorWrapper, "execute", counting_execute)
    monkeypatch.setattr(pipe._Connection, "send", counting_send)

    @contextmanager
    def costs() -> Iterator[Counter[str]]:
        counted.clear()
        yield counted

    return costs
