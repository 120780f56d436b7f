"""The console's answers outside any view: URLs with a NUL, and an unavailable database."""

from __future__ import annotations

import json

import pytest
from django.contrib import admin
from django.db import InterfaceError, InternalError, OperationalError
from django.test import Client

from runtime.faults import in_words

pytestmark = pytest.mark.django_db

OTHERS = [
    "/login/?next=%00",
    "/invitations/%00/",
    "/first-operator/a%00/",
    "/errors/%00",
    "/static/%00",
    "/%00",
    "/admin/autocomplete/?app_label=accounts&model_name=apikey&field_name=account&term=%00",
    "/admin/r/1/%00/",
    "/api/v1/accounts/by-external-id/a%00b",
    "/api/v1/keys/?cursor=%00",
    "/api/v1/audit/?subject=a%00b",
    "/api/v1/%00/",
]


@pytest.fixture
def operator(operator: Client) -> Client:
    """The operator's browser, in which an exception is a 500."""
    operator.raise_request_exception = False
    return operator


def addresses() -> list[str]:
    """Every page of every table in the admin, with each of its filters."""
    found = list(OTHERS)
    for model, page in admin.site._registry.items():
        base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        found += [
            f"{base}%00/change/",
            f"{base}a%00b/history/",
            f"{base}%00/delete/",
            f"{base}?q=%00",
            f"{base}add/?name=%00",
        ]
        fields = [field.name for field in model._meta.concrete_fields]
        found += [f"{base}?{name}{how}=%00" for name in fields for how in ("", "__exact", "__gte")]
        found += [f"{base}?{name}=a%00" for name in (*page.list_filter, "kind", "state") if isinstance(name, str)]
    return found


def test_a_url_with_a_nul_is_a_bad_request(operator):
    answers = {address: operator.get(address) for address in addresses()}
    assert len(answers) > 100
    assert {address: answer.status_code for address, answer in answers.items() if answer.status_code != 400} == {}
    assert answers["/api/v1/%00/"]["Content-Type"] == "application/problem+json"
    assert answers["/%00"].content == b"400 Bad Request\nThe URL contains a NUL character.\n"


def test_a_nul_in_a_form_is_a_form_error(operator):
    stranger = Client(raise_request_exception=False)
    assert stranger.post("/login/", {"username": "a\0b", "password": "x"}).status_code == 200
    assert operator.post("/admin/accounts/user/", {"action": "x\0", "_selected_action": "1\0"}).status_code < 500


def read_only() -> InternalError:
    class ReadOnlySqlTransaction(Exception):
        sqlstate = "25006"

    error = InternalError("cannot execute INSERT in a read-only transaction")
    error.__cause__ = ReadOnlySqlTransaction()
    return error


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed"), read_only()], ids=str)
@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/admin/", "django.contrib.sessions.backends.db.SessionStore.load"),
        ("/admin/accounts/user/", "django.contrib.admin.sites.AdminSite.each_context"),
        ("/api/v1/me/", "api.me.Me.get"),
    ],
)
def test_an_unavailable_database_is_503_and_one_log_line_everywhere(operator, monkeypatch, caplog, path, where, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(where, fail)
    answer = operator.get(path)
    assert (answer.status_code, answer["Retry-After"], answer["Cache-Control"]) == (503, "5", "no-store")
    if path.startswith("/api/"):
        assert json.loads(answer.content)["type"].endswith("/errors/unavailable")
    else:
        assert answer.content.decode().splitlines()[1] == "The database is unavailable. Try again in a moment."
    assert [record.exc_info for record in caplog.records if record.exc_info] == []


def test_an_internal_error_keeps_its_traceback(operator, monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise RuntimeError("deep")

    monkeypatch.setattr("django.contrib.admin.sites.AdminSite.each_context", fail)
    assert operator.get("/admin/").status_code == 500
    assert any(record.exc_info for record in caplog.records)


def test_a_read_only_database_is_one_sentence():
    assert in_words(read_only()) == (
        "The database is read-only: it is a replica, or has become one. DATABASE_URL must point to the primary."
    )
