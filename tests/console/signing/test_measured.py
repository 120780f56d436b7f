"""Attempts to sign in and mails are counted for /metrics, a flood of them too."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from console.signing.limits import tell_once
from runtime import measures, replica
from runtime.series import series_of
from store.throttles import SIGN_INS_OF
from tests.console.signing.people import HERE, acts, mia, sign_in

pytestmark = pytest.mark.django_db(transaction=True)


def raised(act, of) -> dict[str, int]:
    """What `act` adds to a metric, by its label."""
    before = dict(series_of(of.name, replica.totals()))
    act()
    after = series_of(of.name, replica.totals())
    return {label: number - before.get((label,), 0) for (label,), number in after if number != before.get((label,))}


def test_each_attempt_is_counted_by_how_it_ended_though_not_each_is_written_down(redis_db):
    mia()
    client = Client(**HERE)

    def guess() -> None:
        for number in range(SIGN_INS_OF.calls + 5):
            client.post("/login/", {"username": "mia", "password": f"wrong {number}"})

    assert raised(guess, measures.SIGN_INS) == {"password": SIGN_INS_OF.calls, "throttled": 5}
    assert len(acts("user.throttled")) == 1


def test_signing_in_is_counted(redis_db):
    mia()
    assert raised(lambda: sign_in(Client(**HERE)), measures.SIGN_INS) == {"signed_in": 1}


def test_what_an_identity_provider_refuses_is_counted_each_time(redis_db, rf):
    request = rf.get("/", **HERE)

    def refuse() -> None:
        for _ in range(3):
            tell_once(request, None, "user.sign_in_failed", how="identity provider")

    assert raised(refuse, measures.SIGN_INS) == {"identity_provider": 3}
    assert len(acts("user.sign_in_failed")) == 1


@pytest.mark.parametrize(
    ("backend", "outcome"),
    [("runtime.mail.NoMail", "failed"), ("django.core.mail.backends.locmem.EmailBackend", "sent")],
)
def test_mails_are_counted_by_whether_they_were_sent(redis_db, settings, backend, outcome):
    settings.EMAIL_BACKEND = backend
    mia()

    def ask() -> None:
        Client(**HERE).post(reverse("account_reset_password"), {"email": "mia@example.org"})

    assert raised(ask, measures.MAILS) == {outcome: 1}
