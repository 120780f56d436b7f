"""The state of a key in one word, as tables and pages show it, and the same as a filter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import pgettext_lazy

from accounts.models import ApiKey, KeyQuerySet, KeySecret

EXPIRES_SOON = timedelta(days=14)
UNUSED = timedelta(days=90)


class KeyState(NamedTuple):
    """A badge: its words, and the class that colours it."""

    words: str | Promise
    tone: str


ACTIVE = KeyState(pgettext_lazy("of a key", "Active"), "good")
EXPIRING = KeyState(pgettext_lazy("of a key", "Expires soon"), "warn")
ROTATING = KeyState(pgettext_lazy("of a key", "Rotating"), "accent")
UNUSED_FOR_LONG = KeyState(pgettext_lazy("of a key", "Unused"), "warn")
PAUSED = KeyState(pgettext_lazy("of a key", "Paused"), "warn")
EXPIRED = KeyState(pgettext_lazy("of a key", "Expired"), "")
REVOKED = KeyState(pgettext_lazy("of a key", "Revoked"), "bad")


def state_of(key: ApiKey, now: datetime) -> KeyState:
    """What to know of the key first. Its secrets were fetched with it."""
    if key.revoked_at:
        return REVOKED
    if key.expires_at and key.expires_at <= now:
        return EXPIRED
    if key.paused_at:
        return PAUSED
    if is_rotating(key, now):
        return ROTATING
    if key.expires_at and key.expires_at <= now + EXPIRES_SOON:
        return EXPIRING
    if (last_use(key) or key.created_at) < now - UNUSED:
        return UNUSED_FOR_LONG
    return ACTIVE


def is_rotating(key: ApiKey, now: datetime) -> bool:
    """Whether an old secret still works beside the newest."""
    return any(secret.expires_at and secret.expires_at > now for secret in key.secrets.all())


def last_use(key: ApiKey) -> datetime | None:
    """When one of its secrets was last used, to within some seconds."""
    return max((secret.last_used_at for secret in key.secrets.all() if secret.last_used_at), default=None)


def start_of(key: ApiKey) -> str:
    """What the newest secret begins with."""
    return next((secret.start for secret in key.secrets.all()), "")


def _of_key() -> QuerySet[KeySecret]:
    return KeySecret.objects.filter(key=OuterRef("pk"))


def _expiring(keys: KeyQuerySet) -> KeyQuerySet:
    return keys.active().filter(expires_at__lte=timezone.now() + EXPIRES_SOON)


def _rotating(keys: KeyQuerySet) -> KeyQuerySet:
    return keys.active().filter(Exists(_of_key().filter(expires_at__gt=timezone.now())))


def _unused(keys: KeyQuerySet) -> KeyQuerySet:
    long_ago = timezone.now() - UNUSED
    used_since = Exists(_of_key().filter(last_used_at__gte=long_ago))
    return keys.active().filter(~used_since, created_at__lt=long_ago)


FILTERS: Mapping[str, Callable[[KeyQuerySet], KeyQuerySet]] = {
    "active": KeyQuerySet.active,
    "expiring": _expiring,
    "rotating": _rotating,
    "unused": _unused,
    "paused": KeyQuerySet.paused,
    "ended": KeyQuerySet.ended,
}
