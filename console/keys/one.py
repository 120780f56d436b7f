"""The page of one key: what it may do, what is left, what it did, and how to rotate or end it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
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
from console.templatetags.console import as_html, relative, when
from quotas.limits import Limit
from quotas.usage.reading import HOUR, UsageSelection, read_usage
from runtime.figures import number

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
    lines.append(PlainLine("globe", _from(key.networks)))
    lines.append(PlainLine("code", _with(key.methods)))
    if key.expires_at is None:
        lines.append(PlainLine("clock", gettext("Until it is revoked")))
    else:
        lines.append(_expiry_line(key.expires_at, now))
    return lines + [_limit_line(limit) for limit in own_limits(key)]


def _from(networks: list[str]) -> str:
    return (
        gettext("From %(networks)s only") % {"networks": _listed(networks)} if networks else gettext("From any network")
    )


def _with(methods: list[str]) -> str:
    return (
        gettext("With %(methods)s only") % {"methods": _listed(methods)}
        if methods
        else gettext("With every HTTP method")
    )


def _expiry_line(moment: datetime, now: datetime) -> PlainLine:
    day = when(moment, "date")
    if moment > now:
        words = as_html(gettext("Until %(day)s, %(soon)s"), day=day, soon=relative(moment, now))
        return PlainLine("clock", words)
    return PlainLine("clock", as_html(gettext("Expired on %(day)s"), day=day), needs_care=True)


def _limit_line(limit: Limit) -> PlainLine:
    return PlainLine("gauge", gettext("At most %(limit)s") % {"limit": sentence(limit, for_key=True)})


def _models_line(key: ApiKey, of_plan: set[str]) -> PlainLine:
    plan = key.account.plan
    name = plan.title or plan.name
    if key.narrowed_to is None:
        words = ngettext(
            "Calls every model of the plan %(plan)s: %(count)d model today",
            "Calls every model of the plan %(plan)s: %(count)d models today",
            len(of_plan),
        )
        return PlainLine("cube", words % {"plan": name, "count": len(of_plan)})
    missing = [slug for slug in key.narrowed_to if slug not in of_plan]
    if missing:
        words = gettext("Calls %(models)s. The plan %(plan)s does not include %(missing)s")
        parts = {"models": _listed(key.narrowed_to), "plan": name, "missing": _listed(missing)}
        return PlainLine("cube", words % parts, needs_care=True)
    return PlainLine("cube", gettext("Calls %(models)s") % {"models": _listed(key.narrowed_to)})


def _listed(words: list[str]) -> str:
    if len(words) == 1:
        return words[0]
    return gettext("%(some)s and %(last)s") % {"some": ", ".join(words[:-1]), "last": words[-1]}


def _usage(key: ApiKey, now: datetime) -> tuple[Any, int, int]:
    """The chart of the last days with the calls and refusals in it."""
    end = floor(now, "hour") + HOUR
    start = floor(now, "day") - timedelta(days=CHART_DAYS - 1)
    selection = UsageSelection(
        start=start, end=end, interval="day", groups=("model",), keys=(key.public_id,)
    )  # by the key alone: with the account too the database would go by that
    rows = read_usage(selection, most=_MOST_ROWS)
    calls, refused = sum(row.allowed for row in rows), sum(row.refused for row in rows)
    counts = {"days": CHART_DAYS, "calls": number(calls), "refused": number(refused)}
    words = gettext("Calls a day, the last %(days)d days: %(calls)s allowed, %(refused)s refused")
    chart = chart_of(rows, steps(start, end, "day"), "day", series_of=lambda row: row.model or "", words=words % counts)
    return chart, calls, refused


class OldSecret(NamedTuple):
    """A secret that a rotation left working, whether it looks safe to end it, and when it will if it is not used."""

    secret: KeySecret
    is_quiet: bool
    safe_at: datetime


def _old_secret(key: ApiKey, now: datetime) -> OldSecret | None:
    for secret in key.secrets.all():
        if secret.expires_at and secret.expires_at > now:
            newest = next(iter(key.secrets.all()))
            since = max(filter(None, (secret.last_used_at, newest.created_at)))
            return OldSecret(secret, now - since >= SAFE_AFTER, since + SAFE_AFTER)
    return None
