"""Many keys of one account with a year of usage, written in bulk: each key is called, and refused, on every day."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.models import Account, ApiKey, KeySecret
from quotas.models import DaysKept
from quotas.usage.days import ALL_DAYS, DAY, day_start
from quotas.usage.reading import HOUR

DAYS = 365
HOURS = 24  # with rows of their own; the days before have sums alone


def many_keys(account: Account, count: int) -> int:
    """Keys with a secret each, as services would have issued them; the least of their primary keys."""
    before = account.keys.count()
    ids = [f"{account.public_id}{number:08}" for number in range(before, before + count)]
    keys = [ApiKey(account=account, public_id=id, name=f"key {id[-5:]}") for id in ids]
    models_base(ApiKey).bulk_create(keys, batch_size=500)
    secrets = [KeySecret(key=key, digest=sha256(key.public_id.encode()).hexdigest(), start="k") for key in keys]
    models_base(KeySecret).bulk_create(secrets, batch_size=500)
    return min(key.pk for key in keys)


def a_year_of_usage(account: Account, since: int, days: int = DAYS) -> None:
    """The same for each of the account's keys from this primary key on."""
    now = timezone.now()
    today, this_hour = day_start(now), now.replace(minute=0, second=0, microsecond=0)
    of_keys = "FROM accounts_apikey WHERE account_id = %s AND id >= %s", [account.pk, since]
    with transaction.atomic():
        DaysKept.objects.update_or_create(pk=1, defaults={"since": ALL_DAYS})
        for number in range(days):
            _write("day", "", today - number * DAY, *of_keys)
        for number in range(HOURS):
            _write("hour", "birth, ", this_hour - number * HOUR, *of_keys)


def _write(unit: str, birth: str, at: datetime, of_keys: str, values: list[Any]) -> None:
    moment, births = connection.ops.adapt_datetimefield_value(at), "1, " if birth else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f'INSERT INTO quotas_usage{unit} (account, "key", model, {birth}{unit}, allowed, refused, shadow_refused, '
            f"units) SELECT substr(public_id, 1, 8), public_id, 'sm', {births}%s, 10 + id %% 7, 2, 0, 20 + id %% 7 "
            f"{of_keys}",
            [moment, *values],
        )
        cursor.execute(
            f'INSERT INTO quotas_refusal{unit} (account, "key", model, {birth}{unit}, reason, by_limit, calls) '
            f"SELECT substr(public_id, 1, 8), public_id, 'sm', {births}%s, 'over_limit', 'key:*:requests:minute', 2 "
            f"{of_keys}",
            [moment, *values],
        )
