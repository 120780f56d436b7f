"""Rules of every catalogue, whether written by the file, the admin, or a service that narrows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from django.utils.translation import gettext

from quotas import limits
from quotas.limits import EVERY_MODEL, Limit


def conflicting_paths(paths: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Pairs of models where the second's path prefix begins with the first's, and what is wrong."""
    one, shorter = "", ""
    for other, longer in sorted(paths.items(), key=lambda item: f"{item[1]}/"):
        if one and f"{longer}/".startswith(f"{shorter}/"):
            words = gettext("the path %(longer)s begins with %(shorter)s, the path of %(one)s; no prefix may do so")
            text = words % {"longer": longer, "shorter": shorter, "one": one}
            yield one, other, text
        else:
            one, shorter = other, longer


def doubles(found: Iterable[Limit]) -> Iterator[tuple[Limit, str]]:
    """Limits of one plan that share a name or counter with an earlier one, and what is wrong."""
    names: set[str] = set()
    counters: dict[tuple[str, ...], str] = {}
    for limit in found:
        if limit.name in names:
            words = gettext("two limits are named %(name)s: a name is a policy's name in headers")
            yield limit, words % {"name": limit.name}
        if limit.identity in counters:
            yield limit, _same_counter(counters[limit.identity], limit)
        names.add(limit.name)
        counters[limit.identity] = limit.name


def _same_counter(name: str, limit: Limit) -> str:
    words = gettext(
        "the limits %(one)s and %(other)s have the same counter "
        "(per %(scope)s, model %(model)s, %(unit)s, %(window)s): keep the smaller one"
    )
    return words % {"one": name, "other": limit.name, **_parts(limit)}


def _parts(limit: Limit) -> dict[str, str]:
    return {"scope": limit.scope, "model": limit.model, "unit": limit.unit, "window": limit.window}


def costs_that_never_fit(found: Iterable[Limit], costs: Mapping[str, int]) -> Iterator[tuple[Limit, str]]:
    """Limits without room for a single call to one of the models (slug to cost), and what to do."""
    for limit in found:
        for slug, units in costs.items():
            cost = limit.cost_of(units)
            if limit.applies_to(slug) and cost > limit.room:
                yield limit, _never_fits(limit) % {"model": slug, "cost": cost, "name": limit.name, "room": limit.room}


def _never_fits(limit: Limit) -> str:
    if limit.is_smoothed:
        return gettext(
            "a call to %(model)s costs %(cost)d and never fits into the limit %(name)s with room for %(room)d: "
            "raise its burst or lower the cost"
        )
    return gettext(
        "a call to %(model)s costs %(cost)d and never fits into the limit %(name)s with room for %(room)d: "
        "raise its amount or lower the cost"
    )


def out_of_range(limit: Limit) -> Iterator[tuple[str, str]]:
    """Fields for which the script's arithmetic would not be exact, and what to write instead."""
    most = limits.MOST_SMOOTHED if limit.is_smoothed else limits.MOST_CALENDAR
    if not 1 <= limit.amount <= most:
        words = gettext("An amount per %(window)s is a whole number between 1 and %(most)d.")
        yield "amount", words % {"window": gettext(limit.window), "most": most}
    if limit.burst is None:
        return
    if not limit.is_smoothed:
        words = gettext("A %(window)s is a quota and has no burst: leave it out.")
        yield "burst", words % {"window": gettext(limit.window)}
    elif not 1 <= limit.burst <= limits.MOST_BURST:
        yield "burst", gettext("A burst is a whole number between 1 and %(most)d.") % {"most": limits.MOST_BURST}


def multiplied(found: Iterable[Limit]) -> Iterator[tuple[Limit, str]]:
    """Limits per key that no limit per account bounds, so that more keys let more calls pass, and what to do.

    It is not an error: it may be intended. An account's quota bounds how much passes in total, not how much at once.
    """
    enforced = [limit for limit in found if not limit.shadow]
    accounts = [limit for limit in enforced if limit.scope == "account"]
    for limit in enforced:
        if limit.scope == "key" and not any(_bounds(account, limit) for account in accounts):
            words = gettext(
                "the limit %(name)s multiplies with an account's keys, and no limit per account bounds it: "
                "with 10 keys an account gets 10 times %(amount)d %(unit)s a %(window)s. %(advice)s"
            )
            said = {"name": limit.name, "amount": limit.amount, "advice": _how_to_bound(limit)}
            yield limit, words % {**said, "unit": gettext(limit.unit), "window": gettext(limit.window)}


def _how_to_bound(limit: Limit) -> str:
    of_a_model = limit.model != EVERY_MODEL
    if limit.is_smoothed and of_a_model:
        words = gettext(
            "Add a limit per account over a second, minute or hour (for %(model)s, or for every model), "
            "or make this one per account"
        )
    elif limit.is_smoothed:
        words = gettext("Add a limit per account over a second, minute or hour, or make this one per account")
    elif of_a_model:
        words = gettext("Add a limit per account (for %(model)s, or for every model), or make this one per account")
    else:
        words = gettext("Add a limit per account, or make this one per account")
    return words % {"model": limit.model}


def _bounds(account: Limit, key: Limit) -> bool:
    """Whether a limit per account bounds what all its keys take from a limit per key. A call costs a unit or more."""
    return (
        account.model in (EVERY_MODEL, key.model)
        and account.unit in ("units", key.unit)
        and (account.is_smoothed or not key.is_smoothed)
    )
