"""The whole product in one gunicorn, as in a small installation: gate and console, two workers, real stores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from django.test import Client

from accounts.models import Account, User
from accounts.services.credentials import MANAGEMENT_SCOPES, OPERATOR_SCOPES, make_management_key, make_operator_token
from accounts.services.roles import set_role
from tests.conftest import ACTOR
from tests.gate.conftest import question
from tests.gate.test_fronts import environment
from tests.servers import gunicorn

CSRF = "c" * 32


@pytest.fixture(scope="module")
def service(django_db_setup, django_db_blocker, redis_socket, tmp_path_factory) -> Iterator[str]:
    """Where it listens."""
    env = environment() | {
        "WEB_CONCURRENCY": "2",
        "AUTHSVC_DRAIN": "0",
        "EMAIL_URL": "console://",
        "AUTHSVC_IMPORTED_KEYS": "1",
    }
    with gunicorn(
        "authsvc.asgi:application", tmp_path_factory.mktemp("service"), "-c", "deploy/gunicorn.conf.py", env=env
    ) as (port, _):
        yield f"http://127.0.0.1:{port}"


def asked_gate(service: str, key: str) -> int:
    """The gate's answer to a key; asked again if the machine is busy."""
    for _ in range(50):
        status = requests.get(f"{service}/auth/?model=sm", headers=dict(question(key)), timeout=20).status_code
        if status != 503:
            return status
    return status


def by_management_key(account: Account, *scopes: str) -> requests.Session:
    return _bearer(make_management_key(account, name="m", scopes=scopes or MANAGEMENT_SCOPES, actor=ACTOR)[1])


def by_operator_token() -> requests.Session:
    return _bearer(make_operator_token(name="o", scopes=OPERATOR_SCOPES, actor=ACTOR)[1])


def by_session(account: Account, role: str = "owner") -> requests.Session:
    """A signed-in browser, with the headers it sends besides its cookie."""
    user = User.objects.create_user(f"{role} of {account.name}")
    set_role(account, user, role, actor=ACTOR)
    browser = Client()
    browser.force_login(user)
    session = requests.Session()
    session.headers["Cookie"] = f"sessionid={browser.cookies['sessionid'].value}; csrftoken={CSRF}"
    session.headers["X-CSRFToken"] = CSRF
    return session


def _bearer(text: str) -> requests.Session:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {text}"
    return session
