"""What was refused lately. The ledger counts refusals by key and model, not by reason."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from accounts.models import Account, ApiKey
from console.charts import floor
from quotas.usage.reading import HOUR, UsageSelection, read_usage

HOURS = 24
MOST = 5
NO_MODEL = "-"
_MOST_ROWS = 5000

_ADVICE_NO_MODEL = gettext_lazy("No model has this path: check the model’s name in the address.")
_ADVICE = gettext_lazy("Over a limit, or not allowed for the key: its page shows which limits are used up.")


class RefusedCalls(NamedTuple):
    """Refused calls of one key to one model. Without a name the key is gone from this account."""

    key_id: str
    key_name: str
    model: str
    calls: int
    advice: str | Promise


def refusals(account: Account, now: datetime) -> list[RefusedCalls]:
    """Those of the last hours, the most frequent first."""
    end = floor(now, "hour") + HOUR
    selection = UsageSelection(
        start=end - timedelta(hours=HOURS), end=end, groups=("key", "model"), accounts=(account.public_id,)
    )
    found = [row for row in read_usage(selection, most=_MOST_ROWS) if row.refused]
    found.sort(key=lambda row: -row.refused)
    ids = [row.key or "" for row in found[:MOST]]
    names = dict(ApiKey.objects.filter(account=account, public_id__in=ids).values_list("public_id", "name"))
    return [
        RefusedCalls(
            row.key or "",
            names.get(row.key or "", ""),
            "" if row.model == NO_MODEL else row.model or "",
            row.refused,
            _ADVICE_NO_MODEL if row.model == NO_MODEL else _ADVICE,
        )
        for row in found[:MOST]
    ]
