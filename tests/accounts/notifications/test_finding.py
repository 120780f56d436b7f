"""What is told, to whom, and that it is told once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.models import Account, ApiKey, KeySecret, Notification, User
from accounts.notifications import finding
from accounts.notifications.finding import (
    MOST_KEYS,
    tell_of_expiring_keys,
    tell_of_quotas,
    tell_of_unused_keys,
)
from accounts.notifications.recipients import choose_topics
from accounts.services.accounts import override_limit
from accounts.services.closing import close_and_erase
from accounts.services.credentials import make_management_key
from accounts.services.keys import issue_key, pause_key, revoke_key
from accounts.services.sweeping import sweep_notifications
from quotas.limits import calendar_window, hour_of
from store import names
from tests.accounts.notifications.conftest import somebody
from tests.conftest import ACTOR, CATALOGUE

Kind = Notification.Kind
pytestmark = pytest.mark.django_db


def told(kind: str = "") -> list[tuple[str, str]]:
    """Who is told of what."""
    rows = Notification.objects.filter(kind=kind) if kind else Notification.objects.all()
    return [(row.user.username, row.subject) for row in rows.order_by("user__username", "pk")]


def key_of(account: Account, *, age: timedelta = timedelta(days=100), left: timedelta | None = None) -> ApiKey:
    now = timezone.now()
    expires_at = None if left is None else now + left
    key = issue_key(account, name="k", actor=ACTOR, expires_at=expires_at).key
    models_base(ApiKey).filter(pk=key.pk).update(created_at=now - age)
    key.refresh_from_db()
    return key


# Keys that expire


@pytest.mark.parametrize(
    ("left", "kinds"),
    [
        (timedelta(days=8), []),
        (timedelta(days=7), [Kind.EXPIRES_IN_A_WEEK]),
        (timedelta(days=2), [Kind.EXPIRES_IN_A_WEEK]),
        (timedelta(hours=23), [Kind.EXPIRES_IN_A_WEEK, Kind.EXPIRES_TOMORROW]),
    ],
)
def test_a_key_that_expires_is_told_a_week_and_a_day_ahead(account, ada, left, kinds):
    key_of(account, left=left)
    tell_of_expiring_keys(timezone.now())
    assert sorted(row.kind for row in Notification.objects.all()) == kinds


def test_a_key_made_for_a_short_life_is_not_told_at_once(account, ada):
    key_of(account, age=timedelta(hours=1), left=timedelta(days=3))
    tell_of_expiring_keys(timezone.now())
    assert told() == []
    tell_of_expiring_keys(timezone.now() + timedelta(days=2, hours=1))
    assert [row.kind for row in Notification.objects.all()] == [Kind.EXPIRES_TOMORROW]


def test_what_was_told_is_not_told_again_unless_the_expiry_moves(account, ada):
    key = key_of(account, left=timedelta(days=3))
    for _ in range(3):
        tell_of_expiring_keys(timezone.now())
    assert told() == [("ada", key.public_id)]
    models_base(ApiKey).update(expires_at=timezone.now() + timedelta(days=4))
    tell_of_expiring_keys(timezone.now())
    assert told() == [("ada", key.public_id)] * 2


def test_a_key_that_has_expired_is_not_told_to_expire(account, ada):
    models_base(ApiKey).filter(pk=key_of(account).pk).update(expires_at=timezone.now() - timedelta(minutes=1))
    tell_of_expiring_keys(timezone.now())
    assert told() == []


@pytest.mark.parametrize("act", [revoke_key, pause_key])
def test_a_key_that_does_not_work_is_not_told(account, ada, act):
    act(key_of(account, left=timedelta(hours=3)), actor=ACTOR)
    tell_of_expiring_keys(timezone.now())
    tell_of_unused_keys(timezone.now())
    assert told() == []


# Keys that nobody uses


def test_a_key_that_lies_idle_is_told_once_and_again_after_it_was_used(account, ada):
    key = key_of(account, age=timedelta(days=91))
    key_of(account, age=timedelta(days=89))
    for _ in range(2):
        tell_of_unused_keys(timezone.now())
    assert told() == [("ada", key.public_id)]
    models_base(KeySecret).filter(key=key).update(last_used_at=timezone.now())
    tell_of_unused_keys(timezone.now() + timedelta(days=10))
    assert (key.public_id, Notification.objects.filter(subject=key.public_id).count()) == (key.public_id, 1)
    tell_of_unused_keys(timezone.now() + timedelta(days=91))
    assert Notification.objects.filter(subject=key.public_id).count() == 2


def test_a_key_whose_old_secret_is_used_is_in_use(account, ada):
    from accounts.services.keys import rotate_key

    key = key_of(account, age=timedelta(days=91))
    models_base(KeySecret).filter(key=key).update(last_used_at=timezone.now())
    rotate_key(key, grace=timedelta(days=1), actor=ACTOR)
    tell_of_unused_keys(timezone.now())
    assert told() == []


def test_one_look_finds_a_bounded_number_of_an_accounts_keys_and_the_next_one_more(account, ada):
    from accounts.services.accounts import cap_keys

    cap_keys(account, 1000, actor=ACTOR)
    for number in range(MOST_KEYS + 5):
        issue_key(account, name=str(number), actor=ACTOR)
    models_base(ApiKey).update(created_at=timezone.now() - timedelta(days=100))
    tell_of_unused_keys(timezone.now())
    assert len(told()) == MOST_KEYS
    tell_of_unused_keys(timezone.now())
    assert len(told()) == MOST_KEYS + 5


def test_many_keys_of_one_account_keep_no_other_account_waiting(account, pro_account, ada, monkeypatch):
    monkeypatch.setattr(finding, "MOST_KEYS", 1)
    somebody("bob", pro_account)
    keys = [key_of(one) for one in (account, account, pro_account)]
    tell_of_unused_keys(timezone.now())
    assert told() == [("ada", keys[0].public_id), ("bob", keys[2].public_id)]


# Quotas


def use(redis_db, account: Account, taken: int, *, ahead: int = 0) -> None:
    """As take.lua leaves it: the month's quota of the plan `free` is 1000 units."""
    count, window, _ = names.counter(account.public_id, "*", "units", "month")
    number = calendar_window("month", hour_of(timezone.now())).number + ahead
    redis_db.hset(names.account(account.public_id), mapping={count: taken, window: number})


@pytest.mark.parametrize(
    ("taken", "kinds"),
    [(799, []), (800, [Kind.QUOTA_NEARLY_USED]), (999, [Kind.QUOTA_NEARLY_USED]), (1000, [Kind.QUOTA_USED_UP])],
)
def test_a_quota_is_told_at_80_and_at_100_percent(account, ada, redis_db, taken, kinds):
    use(redis_db, account, taken)
    for _ in range(2):
        tell_of_quotas([account.public_id], timezone.now())
    assert [row.kind for row in Notification.objects.all()] == kinds


def test_what_was_used_last_month_is_not_told(account, ada, redis_db):
    use(redis_db, account, 1000, ahead=-1)
    tell_of_quotas([account.public_id], timezone.now())
    assert told() == []


@pytest.mark.parametrize(
    ("limit", "is_told"),
    [('per = "account"', True), ('per = "key"', False), ('per = "account", shadow = true', False)],
)
def test_only_a_quota_that_holds_for_the_whole_account_is_told(account, ada, redis_db, catalogue, limit, is_told):
    catalogue(
        f"""
        default_plan = "free"
        [models.sm]
        [plans.free]
        models = ["sm"]
        limits = [{{ name = "month", {limit}, amount = 1000, window = "month", unit = "units" }}]
        [plans.pro]
        models = ["*"]
        """
    )
    use(redis_db, account, 1000)
    tell_of_quotas([account.public_id], timezone.now())
    assert bool(told()) is is_told


def test_an_accounts_own_amount_counts(account, ada, redis_db):
    override_limit(account, "month", 5000, actor=ACTOR)
    use(redis_db, account, 1000)
    tell_of_quotas([account.public_id], timezone.now())
    assert told() == []


def test_a_quota_that_has_room_for_no_model_counts_as_used_up(account, ada, redis_db, dearer):
    dearer("sm", 5)
    use(redis_db, account, 996)
    tell_of_quotas([account.public_id], timezone.now())
    assert [row.kind for row in Notification.objects.all()] == [Kind.QUOTA_USED_UP]


def test_a_disabled_model_makes_no_quota_last_longer(account, ada, catalogue, redis_db):
    catalogue(
        CATALOGUE.replace('models = ["sm"]', 'models = ["sm", "lg"]').replace(
            "[models.sm]", "[models.sm]\nenabled = false"
        )
    )
    use(redis_db, account, 996)
    tell_of_quotas([account.public_id], timezone.now())
    assert [row.kind for row in Notification.objects.all()] == [Kind.QUOTA_USED_UP]


# Who is told


def test_owners_and_admins_with_a_confirmed_address_are_told(account, ada):
    for role in ("admin", "member", "viewer"):
        somebody(role, account, role)
    somebody("unconfirmed", account, confirmed=False)
    somebody("elsewhere")
    gone = somebody("gone", account)
    gone.is_active = False
    gone.save()
    key_of(account, left=timedelta(days=3))
    tell_of_expiring_keys(timezone.now())
    assert [name for name, _ in told()] == ["ada", "admin"]


def test_who_moved_to_an_address_that_is_not_confirmed_is_not_told(account, ada):
    ada.email = "new@example.org"
    ada.save()
    key_of(account, left=timedelta(days=3))
    tell_of_expiring_keys(timezone.now())
    assert told() == []


def test_an_address_is_confirmed_however_it_is_written(account, ada):
    User.objects.filter(pk=ada.pk).update(email="Ada@Example.ORG")
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    assert [name for name, _ in told()] == ["ada"]


@pytest.mark.parametrize("state", ["suspended_at", "closed_at"])
def test_of_an_account_that_is_not_active_nobody_is_told(account, ada, state):
    key_of(account, left=timedelta(days=3))
    models_base(Account).update(**{state: timezone.now()})
    tell_of_expiring_keys(timezone.now())
    assert told() == []


def test_who_switched_a_topic_off_is_not_told_of_it(account, ada):
    choose_topics(ada, ["unused", "quota", "management_key", "sign_in"])
    key_of(account, left=timedelta(days=3))
    tell_of_expiring_keys(timezone.now())
    tell_of_unused_keys(timezone.now())
    assert [row.kind for row in Notification.objects.all()] == [Kind.UNUSED]
    choose_topics(ada, ["expiry"])
    tell_of_expiring_keys(timezone.now())
    assert len(told()) == 2 and set(ada.switched_off_topics.values_list("topic", flat=True)) == {
        "unused",
        "quota",
        "management_key",
        "sign_in",
    }


# What just happened


def test_a_new_management_key_is_told_with_its_creator_and_its_scopes(account, ada):
    row, text = make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    made = Notification.objects.get()
    assert (made.subject, made.details) == (row.public_id, {"name": "ci", "by": "tests", "scopes": ["keys:read"]})
    assert text not in str(made.details)


@pytest.mark.parametrize("off", [{"NOTIFICATIONS": False}, {"EMAIL_BACKEND": "runtime.mail.NoMail"}])
def test_where_no_mail_is_sent_none_is_kept_for_later(account, ada, settings, off):
    for name, value in off.items():
        setattr(settings, name, value)
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    assert told() == []


# What goes


def test_an_erased_account_leaves_no_notifications(account, ada):
    key_of(account, left=timedelta(days=3))
    tell_of_expiring_keys(timezone.now())
    close_and_erase(account, actor=ACTOR)
    assert not Notification.objects.exists()


def test_old_ones_are_deleted_unless_that_would_tell_them_again(account, ada):
    key_of(account, left=timedelta(days=3))
    tell_of_expiring_keys(timezone.now())
    tell_of_unused_keys(timezone.now())
    Notification.objects.update(created_at=timezone.now() - timedelta(days=101))
    assert sweep_notifications() == 1
    assert [row.kind for row in Notification.objects.all()] == [Kind.UNUSED]
