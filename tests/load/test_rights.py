"""The product with exactly the rights in Redis that docs/operations.md lists."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest
import redis
from django.core.management import call_command

from accounts.ledger_worker import Worker
from accounts.services.accounts import create_account
from accounts.services.keys import issue_key, revoke_key
from authsvc.gate.app import close_gate
from quotas.models import Plan, UsageHour
from runtime.processes import SERVING, OwnReport, read_processes
from runtime.waiting import why_no_redis
from store import clients, examination
from store.link import link
from store.throttles import LOOKS
from tests.conftest import ACTOR
from tests.load.test_topologies import statuses, use
from tests.servers import redis_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def documented_rights() -> list[str]:
    page = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    found = re.search(r"ACL SETUSER authsvc on >PASSWORD (.*?)```", page, re.S)
    assert found
    return found[1].split()


@pytest.fixture
def redis_db():
    """The store of this test is its own and begins empty."""


@pytest.mark.parametrize(
    "without", [(), ("+info", "+wait", "+script|load", "+client|setname")], ids=["all of them", "the least"]
)
def test_the_rights_in_the_docs_are_enough(without, tmp_path, settings, request, on_a_loop):
    rights = [right for right in documented_rights() if right not in without]
    with redis_server(tmp_path) as path, redis.Redis(unix_socket_path=str(path)) as administrator:
        administrator.execute_command("ACL", "SETUSER", "authsvc", "on", ">s3cret", *rights)
        use(f"unix://authsvc:s3cret@{path}?db=1", settings)
        try:
            _use_everything(request, on_a_loop)
            refused = [entry["object"] for entry in administrator.acl_log() if entry["username"] == "authsvc"]
        finally:
            clients.sync_client().close()
            clients.sync_client.cache_clear()
    optional = {right[1:] for right in without} | {"client|setinfo"}
    assert set(refused) <= optional


def _use_everything(request, on_a_loop) -> None:
    request.getfixturevalue("catalogue")
    plan = Plan.objects.get(name="pro")
    account, publication = create_account("acme", plan, actor=ACTOR)
    assert publication.published
    issued = issue_key(account, name="k", actor=ACTOR)
    assert issued.publication.published

    async def ask() -> None:
        for _ in range(200):  # a busy machine is asked again
            if await statuses(issued.text) == [200]:
                break
        assert await statuses(issued.text) == [200]
        found = await examination.by_link(link())
        assert not found.faults
        await close_gate()

    on_a_loop(ask())
    assert why_no_redis() is None
    assert LOOKS.wait("somebody") == 0
    assert not examination.by_client().faults
    keeping = Worker()
    for _ in range(2):
        keeping.turn()
    assert keeping.deployment is not None
    OwnReport(["worker"]).call(keeping.deployment, SERVING).run(clients.sync_client())
    assert len(read_processes()) == 1
    keeping._server = "another"
    keeping.turn()  # as after an old copy was restored: all usage is copied and deleted
    call_command("keep_ledger", once=True, stdout=StringIO())
    assert UsageHour.objects.exists()
    assert revoke_key(issued.key, actor=ACTOR).published
