"""What the database refuses, and what managers refuse before it comes to that."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from accounts import models as accounts
from accounts.facts.publish import models_base
from accounts.models import Account, ApiKey, AuditEvent, KeyLimit, KeySecret, Membership, User
from accounts.refused import Refused
from accounts.services.accounts import close_account, move_account, override_limit, resume_account, suspend_account
from accounts.services.acts import Actor
from accounts.services.keys import issue_key
from quotas.guarded import BulkChangeRefused
from quotas.models import Catalogue, Plan, PlanLimit, ServedModel, UsageHour
from tests.conftest import ACTOR

HOUR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def one_of_each(issued, account, db):
    """Values for a second row in every table, next to a first row with the same values."""
    user = User.objects.create(username="ada")
    Membership.objects.create(account=account, user=user)
    override_limit(account, "minute", 5, actor=ACTOR)
    plan, model, key = account.plan, ServedModel.objects.get(slug="sm"), issued.key
    amount = {"name": "n", "amount": 5, "window": "minute", "unit": "requests", "counted_since": timezone.now()}
    rows = {
        Account: {"public_id": "00000000", "name": "other", "plan": plan, "plan_since": timezone.now()},
        Membership: {"account": account, "user": User.objects.create(username="bob"), "role": "viewer"},
        accounts.AccountOverride: {"account": account, "limit_name": "month", "amount": 5},
        ApiKey: {"public_id": "0" * 16, "account": account, "name": "k"},
        KeySecret: {"key": key, "digest": "d", "pepper": "p", "minted_pepper": "p", "start": "s"},
        KeyLimit: {"key": key, **amount},
        PlanLimit: {"plan": plan, "scope": "account", **amount},
        ServedModel: {"slug": "other", "path": "/other"},
        Plan: {"name": "other"},
        UsageHour: {"account": key.public_id[:8], "key": key.public_id, "model": "sm", "hour": HOUR, "birth": 1},
        Catalogue: {"pk": 1},
    }
    models_base(UsageHour).create(**rows[UsageHour])
    models_base(KeyLimit).create(**{**rows[KeyLimit], "name": "first", "window": "day"})
    models_base(KeyLimit).create(**{**rows[KeyLimit], "name": "second", "window": "day", "model": model})
    return rows


def first_of(model):
    return models_base(model).order_by("pk").first()


@pytest.mark.parametrize(
    "model", [Account, Membership, accounts.AccountOverride, ApiKey, KeySecret, KeyLimit, PlanLimit, ServedModel, Plan]
)
def test_the_unchanged_values_are_accepted(one_of_each, model):
    models_base(model).create(**one_of_each[model])


AMOUNT = [
    {"amount": 0},
    {"amount": 1_000_000_001},
    {"window": "day", "amount": 10**12 + 1, "unit": "units"},
    {"window": "week"},
    {"unit": "tokens"},
    {"burst": 0},
    {"burst": 1_000_000_001},
    {"window": "month", "burst": 5},
]


@pytest.mark.parametrize(
    ("model", "changed"),
    [
        (Account, {"name": ""}),
        (Account, {"external_id": "acme"}),
        (Membership, {"role": "king"}),
        (accounts.AccountOverride, {"amount": 0}),
        (accounts.AccountOverride, {"limit_name": "minute"}),
        (ApiKey, {"name": ""}),
        *[(KeyLimit, changed) for changed in AMOUNT],
        *[(PlanLimit, changed) for changed in AMOUNT],
        (KeyLimit, {"name": "first", "window": "hour"}),
        (KeyLimit, {"window": "day"}),
        (PlanLimit, {"name": "minute", "window": "hour"}),
        (PlanLimit, {"scope": "user"}),
        (PlanLimit, {"scope": "key", "window": "minute"}),
        (ServedModel, {"slug": "sm"}),
        (ServedModel, {"path": "/sm"}),
        (ServedModel, {"path": "other"}),
        (ServedModel, {"cost": 0}),
        (ServedModel, {"cost": 1_000_001}),
        (Plan, {"name": "free"}),
        (Catalogue, {"pk": 2}),
        (UsageHour, {}),
        (UsageHour, {"birth": 2, "allowed": 5, "units": 4}),
    ],
)
def test_the_database_refuses(one_of_each, model, changed):
    with pytest.raises(IntegrityError), transaction.atomic():
        models_base(model).create(**{**one_of_each[model], **changed})


def test_the_database_refuses_a_second_row_with_the_same_identifier(one_of_each, issued, account):
    for model, field in ((Account, "public_id"), (ApiKey, "public_id"), (KeySecret, "digest"), (Membership, "user")):
        same = getattr(first_of(model), field)
        with pytest.raises(IntegrityError), transaction.atomic():
            models_base(model).create(**{**one_of_each[model], field: same})


def test_a_limit_for_one_model_has_a_counter_of_its_own(one_of_each):
    model = ServedModel.objects.get(slug="sm")
    rows = {**one_of_each[PlanLimit], "window": "day"}
    models_base(PlanLimit).create(**rows)
    models_base(PlanLimit).create(**{**rows, "name": "of sm", "model": model})
    with pytest.raises(IntegrityError), transaction.atomic():
        models_base(PlanLimit).create(**{**rows, "name": "of sm too", "model": model})


def test_the_largest_values_are_accepted(one_of_each):
    rows = one_of_each[KeyLimit]
    models_base(KeyLimit).create(**{**rows, "amount": 1_000_000, "burst": 1_000_000})
    models_base(KeyLimit).create(**{**rows, "name": "m", "window": "month", "amount": 10**12})


def test_referenced_rows_cannot_be_deleted(issued, account):
    models_base(PlanLimit).create(
        plan=account.plan,
        scope="key",
        name="x",
        amount=1,
        window="day",
        counted_since=timezone.now(),
        model=ServedModel.objects.get(slug="lg"),
    )
    default = Catalogue.objects.get().default_plan
    assert default is not None
    for row in (account.plan, ServedModel.objects.get(slug="lg"), default):
        with pytest.raises(ProtectedError):
            row.delete()


# Managers


@pytest.mark.parametrize(
    "model",
    [
        Account,
        accounts.AccountOverride,
        ApiKey,
        KeySecret,
        KeyLimit,
        Catalogue,
        ServedModel,
        Plan,
        PlanLimit,
        AuditEvent,
    ],
)
def test_bulk_changes_cannot_bypass_the_services(issued, model):
    rows = list(model.objects.all())
    before = list(model.objects.values())
    for change in (
        lambda: model.objects.update(pk=7),
        lambda: model.objects.filter(pk=1).update(pk=7),
        lambda: model.objects.all().delete(),
        lambda: model.objects.bulk_update(rows, ["pk"]),
        lambda: model.objects.bulk_create(rows, update_conflicts=True, unique_fields=["pk"], update_fields=["pk"]),
    ):
        with pytest.raises(BulkChangeRefused):
            change()
    assert list(model.objects.values()) == before


def test_related_rows_cannot_be_changed_in_bulk_either(issued, account):
    for rows in (account.keys, account.plan.limits, issued.key.secrets):
        with pytest.raises(BulkChangeRefused):
            rows.all().delete()
        with pytest.raises(BulkChangeRefused):
            rows.update(name="x")


def test_keys_and_accounts_are_never_deleted(issued, account):
    for row, instead in ((issued.key, "revoke it"), (account, "close it")):
        with pytest.raises(BulkChangeRefused, match=instead):
            row.delete()
    assert ApiKey.objects.count() == Account.objects.count() == 1


def test_the_audit_log_is_append_only(account):
    event = AuditEvent.objects.first()
    assert event is not None
    event.actor = "nobody"
    for change in (event.save, event.delete):
        with pytest.raises(BulkChangeRefused, match="append-only"):
            change()
    assert AuditEvent.objects.get(pk=event.pk).actor == "tests"


def test_a_deleted_person_leaves_keys_and_log(account):
    ada = User.objects.create(username="ada")
    key = issue_key(account, name="hers", actor=Actor("ada", user=ada)).key
    ada.delete()
    key.refresh_from_db()
    assert key.created_by is None
    assert AuditEvent.objects.filter(actor="ada", subject=key.public_id).exists()


# Metadata


def nested(levels: int):
    return {"a": nested(levels - 1)} if levels else 1


@pytest.mark.parametrize("value", [{}, {"a": "x" * (8192 - len('{"a":""}'))}, {"a": "é" * 4000}, nested(20)])
def test_metadata_up_to_8_kb_is_stored(account, value):
    key = issue_key(account, name="k", metadata=value, actor=ACTOR).key
    key.refresh_from_db()
    assert key.metadata == value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": "x" * (8193 - len('{"a":""}'))}, "longer than 8 KB"),
        ({"a": "é" * 4093}, "longer than 8 KB"),
        ({"a": "\0"}, "null character"),
        ({"a\0": 1}, "null character"),
        (nested(22), "more than 20 levels"),
        ({"a": float("nan")}, "contains a value that JSON can't represent"),
        ({"a": "\ud800"}, "contains a value that JSON can't represent"),
    ],
)
def test_metadata_that_databases_cannot_store_is_refused(account, value, words):
    with pytest.raises(ValidationError, match=words):
        issue_key(account, name="k", metadata=value, actor=ACTOR)
    assert not ApiKey.objects.exists()


# Repeating


@pytest.mark.parametrize(("act", "field"), [(close_account, "closed_at"), (suspend_account, "suspended_at")])
def test_repeating_an_act_keeps_the_time_of_the_first(account, act, field):
    act(account, actor=ACTOR)
    moment, events, version = getattr(account, field), AuditEvent.objects.count(), account.version
    assert not act(Account.objects.get(), actor=ACTOR).is_pending
    account.refresh_from_db()
    assert getattr(account, field) == moment
    assert AuditEvent.objects.count() == events
    assert account.version == version + 1  # and published again: the first may have been pending


def test_moving_to_the_same_plan_and_resuming_twice_change_nothing(account):
    since, events = account.plan_since, AuditEvent.objects.count()
    move_account(account, account.plan, actor=ACTOR)
    resume_account(account, actor=ACTOR)
    account.refresh_from_db()
    assert (account.plan_since, AuditEvent.objects.count()) == (since, events)


def test_a_closed_account_cannot_be_suspended(account):
    stale = Account.objects.get()
    close_account(account, actor=ACTOR)
    with pytest.raises(Refused, match=r"The account acme \(.{8}\) is closed. Reopen it first."):
        suspend_account(stale, actor=ACTOR)
