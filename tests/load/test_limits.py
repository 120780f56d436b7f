"""The limits in the API agree with the gate's headers, while others call as fast as they can."""

from __future__ import annotations

import asyncio
import http.client

import pytest

from accounts.services.keys import issue_key
from authsvc.gate.explain import look_at_limits
from tests.conftest import ACTOR, CATALOGUE
from tests.gate.conftest import question
from tests.load.client import Load
from tests.load.packing import packed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

SECOND = '{ name = "second", per = "account", amount = 50, window = "second", burst = 100 }'
QUOTAS = '{ name = "day", per = "account", amount = 1000000000, window = "day" }, { name = "hour", per = "account", amount = 1, window = "hour", burst = 1000000 }'
SAMPLES = 100


def by_the_gate(port: int, key: str) -> list[int]:
    """r of each policy of a call of our own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    for _ in range(20):
        connection.request("GET", "/auth/?model=sm", headers=dict(question(key)))
        response = connection.getresponse()
        response.read()
        if response.status == 200:
            connection.close()
            return [int(policy.split(";")[1][2:]) for policy in (response.getheader("RateLimit") or "").split(", ")]
    raise AssertionError("the gate could not decide")


def by_the_api(key_id: str) -> list[int]:
    look = look_at_limits(key_id, "sm")
    assert look is not None
    return list(look[2].meters[::2])


def test_limits_and_the_gates_headers_agree_under_load(gate_port, catalogue, pro_account):
    catalogue(CATALOGUE.replace(SECOND, QUOTAS))
    key = issue_key(pro_account, name="k", actor=ACTOR)

    async def sample() -> int:
        async with Load(gate_port, [packed(key.text)], connections=8) as load:
            await asyncio.sleep(0.2)
            for _ in range(SAMPLES):
                before = await asyncio.to_thread(by_the_gate, gate_port, key.text)
                told = await asyncio.to_thread(by_the_api, key.key.public_id)
                after = await asyncio.to_thread(by_the_gate, gate_port, key.text)
                # Others take meanwhile, and nothing comes back: what is told lies between two answers of the gate.
                assert all(a < t <= b for a, t, b in zip(after, told, before, strict=True)), (before, told, after)
        return load.statuses[200]

    assert asyncio.run(sample()) > SAMPLES
    assert by_the_gate(gate_port, key.text) == by_the_api(key.key.public_id)
