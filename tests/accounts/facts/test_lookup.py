"""Look-ups in the database: few threads make them, and few may wait for those."""

from __future__ import annotations

import asyncio
from threading import Event

import pytest

from accounts.facts.lookup import DATABASE_THREADS, MOST_WAITING, FactsUnavailable, Lookup
from accounts.peppers import peppers
from store.link import link

pytestmark = pytest.mark.django_db(transaction=True)


def test_who_comes_when_many_wait_for_the_database_is_refused_at_once(redis_db, on_a_loop):
    """A database that hangs must not make the gate's memory grow with each cold key that is asked about."""

    async def run() -> None:
        lookup, hanging = Lookup(link(), peppers()), Event()
        try:
            waiting = [asyncio.ensure_future(lookup._database(hanging.wait)) for _ in range(MOST_WAITING)]
            await asyncio.sleep(0)
            with pytest.raises(FactsUnavailable, match="too many"):
                await lookup._database(lambda: 1)
            hanging.set()
            assert all(await asyncio.gather(*waiting))
            assert await lookup._database(lambda: 1) == 1  # there is room again
        finally:
            hanging.set()
            lookup.close()

    assert MOST_WAITING > DATABASE_THREADS
    on_a_loop(run())
