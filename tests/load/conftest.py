"""The product as it is shipped: two workers, a real Redis, a real database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gate.test_fronts import environment
from tests.servers import gunicorn


@pytest.fixture(scope="module")
def gate_port(django_db_setup, django_db_blocker, redis_socket, tmp_path_factory) -> Iterator[int]:
    env = environment() | {"WEB_CONCURRENCY": "2", "AUTHSVC_SERVES": "gate", "AUTHSVC_DRAIN": "0"}
    with gunicorn(
        "authsvc.asgi:application", tmp_path_factory.mktemp("load"), "-c", "deploy/gunicorn.conf.py", env=env
    ) as (port, _):
        yield port
