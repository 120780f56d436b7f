"""The page of one key: what it may do, what is left, what it did, and how to rotate or end it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.authority import Action
from accounts.models import ApiKey, KeySecret
from accounts.plan_models import models_of
from accounts.services.keys import LONGEST_GRACE
from console.charts import chart_of, floor, steps
from console.frame import page, show
from console.keys.acts import grace_choices
from console.keys.finding import find_key
from console.keys.form import own_limits
from console.keys.state import last_use, start_of, state_of
from console.limits import meters_of_key, sentence
from console.seat import Seat
from console.templatetags.console import day_of, relative
from quotas.usage.reading import HOUR, UsageSelection, read_usage

CHART_DAYS = 30
SAFE_AFTER = timedelta(hours=24)  # an old secret that nobody used for so long is probably replaced everywhere
_MOST_ROWS = 5000


class PlainLine(NamedTuple):
    """One thing that the key may or may not do. `needs_care` marks what keeps it from working."""

    icon: str
    words: str
    needs_care: bool = False


@page(Action.READ_KEYS)
@require_safe
def key(request: HttpRequest, seat: Seat, key_id: str) -> HttpResponse:
    row, now = find_key(seat, key_id), timezone.now()
    is_living = row.is_living
    chart, calls, refused = _usage(row, now)
    context = {
        "key": row,
        "start": start_of(row),
        "state": state_of(row, now),
        "used": last_use(row),
        "lines": plainly(row, models_of(seat.account.plan), now),
        "limits": meters_of_key(row) if is_living else None,
        "chart": chart,
        "calls": calls,
        "refused": refused,
        "old": _old_secret(row, now),
        "graces": grace_choices(),
        "may_change": seat.may_change(row) and not row.revoked_at,
        "is_living": is_living,
        "longest_grace": LONGEST_GRACE.days,
    }
    return show(request, seat, "keys/one", context)


def plainly(key: ApiKey, of_plan: set[str], now: datetime) -> list[PlainLine]:
    """What the key may do, as one would tell a colleague."""
    lines = [_models_line(key, of_plan)]
    lines.append(PlainLine("globe", f"From {_listed(key.networks)} only" if key.networks else "From any network"))
    lines.append(PlainLine("code", f"With {_listed(key.methods)} only" if key.methods else "With every HTTP method"))
    if key.expires_at is None:
        lines.append(PlainLine("clock", "Until it is revoked"))
    elif key.expires_at > now:
        lines.append(PlainLine("clock", f"Until {day_of(key.expires_at)}, {relative(key.expires_at, now)}"))
    else:
        lines.append(PlainLine("clock", f"Expired on {day_of(key.expires_at)}", needs_care=True))
    return lines + [PlainLine("gauge", f"At most {sentence(limit, for_key=True)}") for limit in own_limits(key)]


def _models_line(key: ApiKey, of_plan: set[str]) -> PlainLine:
    plan = key.account.plan
    name = plan.title or plan.name
    if key.narrowed_to is None:
        count = len(of_plan)
        return PlainLine(
            "cube", f"Calls every model of the plan {name}: {count} model{'' if count == 1 else 's'} today"
        )
    missing = [slug for slug in key.narrowed_to if slug not in of_plan]
    words = f"Calls {_listed(key.narrowed_to)}"
    if missing:
        return PlainLine("cube", f"{words}. The plan {name} does not include {_listed(missing)}", needs_care=True)
    return PlainLine("cube", words)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _usage(key: ApiKey, now: datetime) -> tuple[Any, int, int]:
    """The chart of the last days with the calls and refusals in it."""
    end = floor(now, "hour") + HOUR
    start = floor(now, "day") - timedelta(days=CHART_DAYS - 1)
    selection = UsageSelection(
        start=start, end=end, interval="day", groups=("model",), keys=(key.public_id,)
    )  # by the key alone: with the account too the database would go by that
    rows = read_usage(selection, most=_MOST_ROWS)
    calls, refused = sum(row.allowed for row in rows), sum(row.refused for row in rows)
    words = f"Calls a day, the last {CHART_DAYS} days: {calls} allowed, {refused} refused"
    chart = chart_of(rows, steps(start, end, "day"), "day", series_of=lambda row: row.model or "", words=words)
    return chart, calls, refused


class OldSecret(NamedTuple):
    """A secret that a rotation left working, and whether it looks safe to end it."""

    secret: KeySecret
    is_quiet: bool


def _old_secret(key: ApiKey, now: datetime) -> OldSecret | None:
    for secret in key.secrets.all():
        if secret.expires_at and secret.expires_at > now:
            newest = next(iter(key.secrets.all()))
            since = max(filter(None, (secret.last_used_at, newest.created_at)))
            return OldSecret(secret, now - since >= SAFE_AFTER)
    return None
