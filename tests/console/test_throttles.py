"""Throttles of the account hold on its pages as they do in the API, and count nothing that is refused anyway."""

from __future__ import annotations

import pytest

from accounts.models import AuditEvent, Membership
from accounts.services.credentials import make_management_key
from accounts.services.invitations import invite
from store.throttles import DAYS_ISSUES, INVITATIONS, ISSUES, MAILS_TO, WRITES, mailbox
from tests.api.callers import fill
from tests.conftest import ACTOR
from tests.console.conftest import person

pytestmark = pytest.mark.django_db(transaction=True)

KEY = {"which": "all", "expiry": "never", "key_id": "abcdEFGH"}
WRITING = {
    "keys/{key}/change/": KEY | {"name": "x", "expiry": "keep"},
    "keys/{key}/rename/": {"name": "x"},
    "keys/{key}/end-rotation/": {},
    "keys/{key}/pause/": {},
    "keys/{key}/resume/": {},
    "keys/{key}/revoke/": {"name": "first"},
    "team/invitations/{invitation}/withdraw/": {},
    "team/management-keys/{management_key}/revoke/": {},
    "team/{member}/role/": {"role": "viewer"},
    "team/{member}/remove/": {},
    "account/rename/": {"name": "x"},
    "account/close/": {"name": "acme"},
}
ISSUING = {
    "keys/new/": KEY | {"name": "x"},
    "keys/{key}/rotate/": {"grace": "0", "version": "1"},
    "try/key/": {"model": "sm", "key_id": "abcdEFGH"},
    "team/management-keys/new/": {"name": "x", "scopes": ["keys:read"], "expiry": "90", "key_id": "abcdEFGH"},
}
MAILING = {
    "team/invite/": {"email": "grace@example.org", "role": "member"},
    "team/invitations/{invitation}/resend/": {},
}
ALL = WRITING | ISSUING | MAILING


@pytest.fixture
def send(account, issued):
    """Send a form of the account's pages."""
    person("mia", account, "member")
    of = {
        "key": issued.key.public_id,
        "invitation": invite(account, email="grace@example.org", role="member", actor=ACTOR).public_id,
        "management_key": make_management_key(account, name="x", scopes=["keys:read"], actor=ACTOR)[0].public_id,
        "member": Membership.objects.get(user__username="mia").public_id,
    }

    def send(client, path):
        return client.post(f"/console/{account.public_id}/{path.format(**of)}", ALL[path])

    return send


@pytest.mark.parametrize(
    ("path", "throttle"),
    [
        *((path, WRITES) for path in WRITING),
        *((path, throttle) for path in ISSUING for throttle in (ISSUES, DAYS_ISSUES)),
        *((path, throttle) for path in MAILING for throttle in (INVITATIONS, MAILS_TO)),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_change_beyond_the_accounts_throttle_is_refused_and_changes_nothing(
    account, owner, send, redis_db, path, throttle
):
    fill(redis_db, throttle, mailbox("grace@example.org") if throttle is MAILS_TO else account.public_id)
    events = AuditEvent.objects.count()
    answer = send(owner, path)
    assert answer.status_code == 429 and int(answer["Retry-After"]) >= 1
    assert AuditEvent.objects.count() == events


@pytest.mark.parametrize("path", ALL)
def test_a_change_that_is_refused_anyway_does_not_count(account, send, redis_db, path):
    events = AuditEvent.objects.count()
    assert send(person("vera", account, "viewer"), path).status_code in (302, 403)
    assert AuditEvent.objects.count() - events == 1  # that vera joined
    assert list(redis_db.scan_iter("authsvc:throttle:*")) == []
