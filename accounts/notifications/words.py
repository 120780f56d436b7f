"""The mails' words. What tenants wrote is quoted, shortened, and cannot be clicked; subjects contain none of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext, ngettext

from accounts.models import Account, ApiKey, Notification
from accounts.notifications.recipients import Kind
from accounts.services.invitation_mail import quoted
from runtime.env import host_of
from runtime.figures import full, number

MOST_LISTED = 20  # keys in one mail


class Mail(NamedTuple):
    subject: str
    text: str


def mail_of(kind: str, account: Account | None, rows: Sequence[Notification]) -> Mail:
    """One mail for all that is to be told to a person about an account: an account's keys may expire together."""
    subject, body = _WORDS[kind](account, rows)
    return Mail(subject, f"{body}\n\n{_why(account)}\n")


def _why(account: Account | None) -> str:
    link = settings.CONSOLE_URL + reverse("notifications")
    choose = gettext("To choose which of these mails you get: {link}").format(link=link)
    if account is None:
        return f"-- \n{choose}"
    role = gettext("You get this mail because you look after the account {name} ({id}) at {host}.")
    told = role.format(name=quoted(account.name), id=account.public_id, host=host_of(settings.CONSOLE_URL))
    return f"-- \n{told}\n{choose}"


def _expires_in_a_week(account: Account | None, rows: Sequence[Notification]) -> tuple[str, str]:
    subject = ngettext("An API key expires within 7 days", "{count} API keys expire within 7 days", len(rows))
    return _expires(account, rows, subject)


def _expires_tomorrow(account: Account | None, rows: Sequence[Notification]) -> tuple[str, str]:
    subject = ngettext("An API key expires within a day", "{count} API keys expire within a day", len(rows))
    return _expires(account, rows, subject)


def _expires(account: Account | None, rows: Sequence[Notification], subject: str) -> tuple[str, str]:
    words = ngettext(
        "This key expires soon. Requests with it are refused from then on:",
        "These keys expire soon. Requests with them are refused from then on:",
        len(rows),
    )
    advice = gettext("If it is still needed, change when it expires, or give its programs a new key in time.")
    listed = _keys(account, rows, lambda row: gettext("expires {moment}").format(moment=full(row.moment)))
    return subject.format(count=len(rows)), f"{words}\n\n{listed}\n\n{advice}"


def _unused(account: Account | None, rows: Sequence[Notification]) -> tuple[str, str]:
    subject = ngettext(
        "An API key has not been used for 90 days", "{count} API keys have not been used for 90 days", len(rows)
    )
    words = ngettext("Nobody has used this key for 90 days:", "Nobody has used these keys for 90 days:", len(rows))
    advice = gettext("A key that nobody needs is only a risk: revoke it. If you are not sure, pause it first.")
    listed = _keys(account, rows, lambda row: gettext("unused since {moment}").format(moment=full(row.moment)))
    return subject.format(count=len(rows)), f"{words}\n\n{listed}\n\n{advice}"


def _keys(account: Account | None, rows: Sequence[Notification], about: Callable[[Notification], str]) -> str:
    """The keys with their names and links, the first of many."""
    listed = rows[:MOST_LISTED]
    names = dict(ApiKey.objects.filter(public_id__in=[row.subject for row in listed]).values_list("public_id", "name"))
    lines = []
    for row in listed:
        name, link = quoted(names.get(row.subject, row.subject)), _link("console_key", account, row.subject)
        lines.append(f"    {name}, {about(row)}\n    {link}")
    if more := len(rows) - len(listed):
        page = _link("console_keys", account)
        lines.append("    " + gettext("and {count} more: {link}").format(count=more, link=page))
    return "\n\n".join(lines)


def _quota_nearly_used(account: Account | None, rows: Sequence[Notification]) -> tuple[str, str]:
    share = gettext("{number}%").format(number=80)
    subject = gettext("{share} of a quota is used").format(share=share)
    words = gettext("At least {share} of this quota is used. When it is used up, calls are refused until it renews:")
    return subject, f"{words.format(share=share)}\n\n{_quotas(rows)}\n\n{_where_usage_is(account)}"


def _quota_used_up(account: Account | None, rows: Sequence[Notification]) -> tuple[str, str]:
    subject = gettext("A quota is used up: calls are refused")
    words = gettext("This quota is used up. Calls are refused until it renews:")
    return subject, f"{words}\n\n{_quotas(rows)}\n\n{_where_usage_is(account)}"


def _quotas(rows: Sequence[Notification]) -> str:
    return "\n".join(f"    {_quota(row.details)}" for row in rows)


def _quota(details: Mapping[str, object]) -> str:
    """100,000 units a month for every model, renews 1 Dec 2026, 00:00 UTC"""
    units = {"requests": gettext("calls"), "units": gettext("units")}[str(details["unit"])]
    each = {"day": gettext("a day"), "month": gettext("a month")}[str(details["window"])]
    model = details["model"]
    to = gettext("to all models together") if model == "*" else gettext("to {model}").format(model=model)
    renews = full(datetime.fromtimestamp(int(str(details["renews"])), UTC))
    amount = number(int(str(details["amount"])))
    return gettext("{amount} {units} {each}, {to}; renews {moment}").format(
        amount=amount, units=units, each=each, to=to, moment=renews
    )


def _where_usage_is(account: Account | None) -> str:
    words = gettext("What uses it: {link}").format(link=_link("console_usage", account))
    if settings.SUPPORT:
        words += "\n" + gettext("If you need more: {support}").format(support=settings.SUPPORT.removeprefix("mailto:"))
    return words


def _management_key(account: Account | None, rows: Sequence[Notification]) -> tuple[str, str]:
    subject = ngettext("A new management key was created", "{count} new management keys were created", len(rows))
    words = gettext("Programs with a management key can change the account as its scopes allow:")
    listed = "\n".join(_management_key_line(row) for row in rows[:MOST_LISTED])
    advice = gettext("If you did not expect this, revoke it and look into the audit log: {link}")
    return subject.format(
        count=len(rows)
    ), f"{words}\n\n{listed}\n\n{advice.format(link=_link('console_audit', account))}"


def _management_key_line(row: Notification) -> str:
    name, by = quoted(str(row.details["name"])), quoted(str(row.details["by"]))
    words = gettext("{name} ({id}), created by {by}, {moment}, with the scopes {scopes}")
    scopes = ", ".join(map(str, row.details["scopes"]))
    return "    " + words.format(name=name, id=row.subject, by=by, moment=full(row.moment), scopes=scopes)


def _new_place(account: Account | None, rows: Sequence[Notification]) -> tuple[str, str]:
    host = host_of(settings.CONSOLE_URL)
    subject = gettext("A sign-in from a new place at {host}").format(host=host)
    words = gettext(
        "Somebody signed in as you at {host} from a network or with a browser not seen in the last 90 days:"
    )
    listed = "\n".join(f"    {_place(row)}" for row in rows[:MOST_LISTED])
    link = settings.CONSOLE_URL + reverse("usersessions_list")
    advice = gettext("If it was you, there is nothing to do. If not, end that session and change your password: {link}")
    return subject, f"{words.format(host=host)}\n\n{listed}\n\n{advice.format(link=link)}"


def _place(row: Notification) -> str:
    browser, address = str(row.details["browser"]), str(row.details["address"]) or gettext("an unknown address")
    named = gettext("an unknown browser") if browser == "other" else browser
    return gettext("{moment}, {browser} at {address}").format(moment=full(row.moment), browser=named, address=address)


_WORDS: Mapping[str, Callable[[Account | None, Sequence[Notification]], tuple[str, str]]] = {
    Kind.EXPIRES_IN_A_WEEK: _expires_in_a_week,
    Kind.EXPIRES_TOMORROW: _expires_tomorrow,
    Kind.UNUSED: _unused,
    Kind.QUOTA_NEARLY_USED: _quota_nearly_used,
    Kind.QUOTA_USED_UP: _quota_used_up,
    Kind.MANAGEMENT_KEY: _management_key,
    Kind.NEW_PLACE: _new_place,
}


def _link(page: str, account: Account | None, *parts: str) -> str:
    assert account is not None, "only a sign-in belongs to no account"
    return str(settings.CONSOLE_URL + reverse(page, args=[account.public_id, *parts]))
