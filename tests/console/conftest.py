"""People of an account, each in a browser of their own; pages count in Redis who tries to sign in."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.models import Account, User
from accounts.services.acts import Actor
from accounts.services.roles import set_role
from quotas.models import RefusalHour, UsageHour
from quotas.usage.days import REFUSALS, add_up, day_start, lock_usage
from tests.conftest import ACTOR
from tests.gate.conftest import ask  # noqa: F401

ROLES = ("owner", "admin", "member", "viewer")


def person(name: str, account: Account | None = None, role: str = "owner", **fields) -> Client:
    """Somebody who is signed in; `client.user` is who."""
    user = User.objects.filter(username=name).first() or User.objects.create_user(name, f"{name}@example.org", **fields)
    if account is not None:
        set_role(account, user, role, actor=ACTOR)
    client = Client()
    client.force_login(user)
    client.user = user  # type: ignore[attr-defined]
    return client


def acting(client: Client) -> Actor:
    return Actor(client.user.username, "203.0.113.7", client.user)  # type: ignore[attr-defined]


@pytest.fixture
def owner(account) -> Client:
    return person("ada", account)


@pytest.fixture
def used():
    """Write down calls of a key as the worker does."""

    def used(
        key,
        model: str = "sm",
        *,
        calls: int = 1,
        refused: int = 0,
        reason: str = "",
        by_limit: str = "",
        ago: timedelta = timedelta(0),
        at: datetime | None = None,
    ) -> None:
        hour = (at or timezone.now() - ago).replace(minute=0, second=0, microsecond=0)
        birth = int(hour.timestamp()) + models_base(UsageHour).count()
        models_base(UsageHour).create(
            account=key.account.public_id,
            key=key.public_id,
            model=model,
            hour=hour,
            birth=birth,
            allowed=calls,
            refused=refused,
            units=calls,
        )
        with transaction.atomic():
            lock_usage()
            add_up([(key.public_id, model, day_start(hour))])
            if reason:
                row = {"account": key.account.public_id, "key": key.public_id, "model": model, "hour": hour}
                RefusalHour.objects.create(**row, birth=birth, reason=reason, by_limit=by_limit, calls=refused)
                add_up([(key.public_id, model, day_start(hour))], REFUSALS)

    return used


@pytest.fixture(autouse=True)
def _nobody_has_tried_yet(redis_db):
    """An empty Redis for each test."""
