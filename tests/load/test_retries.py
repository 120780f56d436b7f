"""A thousand retries of one creation, over 16 connections, to a real server that loses some of its answers."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import pytest

from accounts.models import ApiKey, KeptAnswer, OutboxRow
from accounts.services.credentials import make_management_key
from tests.conftest import ACTOR
from tests.gate.test_fronts import environment
from tests.servers import gunicorn

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

CONNECTIONS, RETRIES = 16, 1000
BODY = json.dumps({"name": "only one"})


@pytest.fixture
def port(redis_socket, tmp_path):
    env = environment() | {"WEB_CONCURRENCY": "2", "AUTHSVC_SERVES": "gate,console", "AUTHSVC_DRAIN": "0"}
    with gunicorn("authsvc.asgi:application", tmp_path, "-c", "deploy/gunicorn.conf.py", env=env) as (port, _):
        yield port


def headers(text: str, once: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}", "Idempotency-Key": once, "Content-Type": "application/json"}


def retry(port: int, times: int, sent: dict[str, str]) -> list[tuple[int, str | None]]:
    """Status and key of each answer; every tenth connection is cut before its answer can come."""
    connection, answers = HTTPConnection("127.0.0.1", port, timeout=60), []
    for number in range(times):
        connection.request("POST", "/api/v1/keys/", BODY, sent)
        if number % 10 == 9:
            connection.close()  # the answer is lost; the next request opens another connection
            continue
        response = connection.getresponse()
        body = json.loads(response.read())
        answers.append((response.status, body.get("key")))
    connection.close()
    return answers


def test_a_thousand_retries_over_sixteen_connections_make_one_key(port, account):
    _, text = make_management_key(account, name="ci", scopes=["keys:write"], actor=ACTOR)
    sent = headers(text, "5b6c9c3e-7a53-4a43-a4c3-6f3c1f7a8f10")
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        share = [RETRIES // CONNECTIONS + (number < RETRIES % CONNECTIONS) for number in range(CONNECTIONS)]
        answers = [answer for part in threads.map(lambda times: retry(port, times, sent), share) for answer in part]
    statuses = Counter(status for status, _ in answers)
    assert set(statuses) <= {201, 202, 409} and statuses[201] > RETRIES // 2, statuses
    (key,) = {key for status, key in answers if status != 409}
    assert ApiKey.objects.count() == KeptAnswer.objects.count() == 1 and not OutboxRow.objects.exists()
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    asked = {"X-Forwarded-Uri": "/sm/", "X-Forwarded-Method": "GET", "X-Forwarded-For": "192.0.2.1"}
    connection.request("GET", "/auth/", headers={**asked, "Authorization": f"Bearer {key}"})
    assert connection.getresponse().status == 200
    connection.close()
