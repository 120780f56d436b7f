from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from store import clients
from tests.faults.house import House


@pytest.fixture
def own_redis(tmp_path, settings, transactional_db) -> Iterator[House]:
    """A house in which only Redis runs; this process uses it, too."""
    with ExitStack() as stack:
        house = House(tmp_path, stack)
        house.start_redis()
        settings.REDIS_URL = house.redis_url
        clients.sync_client.cache_clear()
        yield house
        clients.sync_client.cache_clear()


@pytest.fixture
def house(own_redis: House, redis_db: object) -> House:
    """The test starts what else it needs."""
    return own_redis
