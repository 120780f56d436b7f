"""Who is told: owners and admins with a confirmed address who have not switched the topic off."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet

from accounts.authority import MASTERS
from accounts.models import Membership, Notification, SwitchedOffTopic, Topic, User

Kind = Notification.Kind

TOPIC_OF: Mapping[str, Topic] = {
    Kind.EXPIRES_IN_A_WEEK: Topic.EXPIRY,
    Kind.EXPIRES_TOMORROW: Topic.EXPIRY,
    Kind.UNUSED: Topic.UNUSED,
    Kind.QUOTA_NEARLY_USED: Topic.QUOTA,
    Kind.QUOTA_USED_UP: Topic.QUOTA,
    Kind.MANAGEMENT_KEY: Topic.MANAGEMENT_KEY,
    Kind.NEW_PLACE: Topic.SIGN_IN,
}


def is_on() -> bool:
    """Whether notifications are sent at all: nothing is kept for a mail server that may come later."""
    return bool(settings.NOTIFICATIONS) and settings.EMAIL_BACKEND != "runtime.mail.NoMail"


def people_of(accounts: Iterable[str], topic: Topic) -> dict[str, list[int]]:
    """The people to tell, by the account's public id. Of an account that is not active, nobody."""
    rows = Membership.objects.filter(
        account__public_id__in=accounts,
        account__closed_at=None,
        account__suspended_at=None,
        role__in=MASTERS,
        user__in=_who_wants(topic),
    )
    found: dict[str, list[int]] = defaultdict(list)
    for account, user in rows.order_by("pk").values_list("account__public_id", "user_id"):
        found[account].append(user)
    return found


def is_still_one(user: User, account: str, topic: Topic) -> bool:
    """Whether the person is still to be told, some time after a notification was made."""
    if account:
        return user.pk in people_of([account], topic).get(account, ())
    return _who_wants(topic).filter(pk=user.pk).exists()


def switched_off(user: User) -> set[str]:
    return set(SwitchedOffTopic.objects.filter(user=user).values_list("topic", flat=True))


def choose_topics(user: User, wanted: Collection[str]) -> None:
    """Switch on the topics that are wanted, and off the others."""
    unwanted = [topic for topic in Topic if topic not in wanted]
    SwitchedOffTopic.objects.filter(user=user).exclude(topic__in=unwanted).delete()
    rows = [SwitchedOffTopic(user=user, topic=topic) for topic in unwanted]
    SwitchedOffTopic.objects.bulk_create(rows, ignore_conflicts=True)


def has_confirmed_address(user: User) -> bool:
    return bool(EmailAddress.objects.filter(user=user, email__iexact=user.email, verified=True).exists())


def _who_wants(topic: Topic) -> QuerySet[User]:
    confirmed = EmailAddress.objects.filter(user=OuterRef("pk"), email__iexact=OuterRef("email"), verified=True)
    off = SwitchedOffTopic.objects.filter(user=OuterRef("pk"), topic=topic)
    return User.objects.filter(Exists(confirmed), ~Exists(off), is_active=True)
