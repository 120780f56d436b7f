"""Other accounts' objects are answered like missing ones: with the same words, at the same cost."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.services.credentials import make_management_key
from accounts.services.invitations import invite
from store import clients
from tests.api.callers import member_of, program_of
from tests.api.test_roles import BODIES, imported, rows
from tests.conftest import ACTOR

MISSING = {
    "account": "0" * 8,
    **dict.fromkeys(
        (
            "key",
            "members_key",
            "member",
            "an_owner",
            "an_admin",
            "invitation",
            "to_an_admin",
            "management_key",
            "stronger_key",
            "import_",
        ),
        "0" * 16,
    ),
}
OBJECTS = [row for row in rows() if "{" in row.path and "external" not in row.path and row.expected["stranger"] == "0"]


@pytest.fixture
def places(account, issued, pro_account):
    member_of(account, "owner", "theirs")
    return {
        "account": account.public_id,
        "key": issued.key.public_id,
        "members_key": issued.key.public_id,
        "member": account.memberships.get().public_id,
        "an_owner": account.memberships.get().public_id,
        "an_admin": account.memberships.get().public_id,
        "to_an_admin": invite(account, email="b@example.org", role="admin", actor=ACTOR).public_id,
        "stronger_key": make_management_key(account, name="s", scopes=["members:write"], actor=ACTOR)[0].public_id,
        "invitation": invite(account, email="a@example.org", role="member", actor=ACTOR).public_id,
        "management_key": make_management_key(account, name="m", scopes=["keys:read"], actor=ACTOR)[0].public_id,
        "import_": imported(account),
    }


@pytest.mark.parametrize("who", ["owner", "program"])
@pytest.mark.parametrize("row", OBJECTS, ids=lambda row: row.name)
def test_another_accounts_object_is_answered_like_a_missing_one(places, pro_account, monkeypatch, who, row):
    client = (
        member_of(pro_account, "owner", "stranger")
        if who == "owner"
        else program_of(pro_account, "keys:read", "keys:write", "usage:read", "members:write")
    )
    client.get("/api/v1/me/")  # records the credential's use
    commands: list[int] = []
    connection_class = clients.sync_client().connection_pool.connection_class
    send = connection_class.send_packed_command

    def counted_send(self, *args, **kwargs):
        commands.append(1)
        return send(self, *args, **kwargs)

    monkeypatch.setattr(connection_class, "send_packed_command", counted_send)

    def ask(names):
        body = {
            name: value.format(**names) if isinstance(value, str) else value
            for name, value in BODIES.get(row.name, {}).items()
        }
        commands.clear()
        with CaptureQueriesContext(connection) as counted:
            call = getattr(client, row.method.lower())
            path = "/api/v1/" + row.path.format(**names)
            response = call(path) if row.method == "GET" else call(path, body, content_type="application/json")
        shapes = [query["sql"].split("WHERE")[0] for query in counted]
        return response.status_code, response.content, shapes, len(commands)

    theirs, missing = ask(places), ask(MISSING)
    assert theirs == missing
    assert theirs[0] == 404 or (who == "program" and theirs[0] == 403)
