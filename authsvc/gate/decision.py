"""`decide()`: the order of checks. All refusals are here; the buckets are last because they spend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hmac import compare_digest
from time import monotonic
from typing import Literal

from django.conf import settings

from accounts.facts.facts import SecretFacts
from accounts.facts.known import NO_MODEL, KnownKey, Terms
from accounts.facts.lookup import FactsUnavailable, Lookup
from accounts.keys import Pepper, PresentedKey
from authsvc.gate.forwarded import ForwardedRequest
from authsvc.gate.verdict import Decision, Verdict
from quotas.buckets import Stale, Tally, Unloaded, take
from quotas.facts import ModelFacts
from store.clients import StoreRefused, StoreUnavailable
from store.pipe import DECISION_SECONDS

TRIES = 3
Judged = Decision | Stale | Unloaded


async def decide(
    request: ForwardedRequest, presented: PresentedKey, now: float, began: float, lookup: Lookup
) -> Decision:
    """Whether the key may make this request at `now` (seconds since 1970); `began` is the monotonic start.

    Facts may be old; the script that takes, or counts a refusal, first confirms that their versions are in force, and
    takes nothing if they are not. Then they are renewed and the decision is made again.
    """
    try:
        known = lookup.recall(presented.public_id)
        # The usual case needs no timer of its own: the pipe bounds its one round trip.
        judged = await judge(known, request, presented, now, began, lookup) if known is not None else None
        if isinstance(judged, Decision):
            return judged
        async with asyncio.timeout(DECISION_SECONDS - (monotonic() - began)):
            return await decide_afresh(known, judged, request, presented, now, began, lookup)
    except StoreUnavailable as error:
        # Only where Redis is away: one that is overrun or full must not switch the limits off.
        if settings.WHEN_REDIS_IS_DOWN == "allow" and not isinstance(error, StoreRefused):
            return await decide_without_redis(request, presented, now, lookup)
        return Decision(Verdict.CANNOT_DECIDE, why=str(error))
    except (FactsUnavailable, TimeoutError) as error:
        return Decision(Verdict.CANNOT_DECIDE, why=str(error) or "out of time")


async def decide_afresh(
    known: KnownKey | None,
    judged: Stale | Unloaded | None,
    request: ForwardedRequest,
    presented: PresentedKey,
    now: float,
    began: float,
    lookup: Lookup,
) -> Decision:
    """Find or renew what this process knows, and judge by it, until Redis confirms it."""
    for _ in range(TRIES):
        if known is None:
            known = await lookup.find(presented)
        elif isinstance(judged, Stale):
            known = await lookup.renew(known, judged.versions)
        else:
            known = await lookup.load(presented.public_id)
        if known is None:
            return Decision(Verdict.UNKNOWN_KEY)
        outcome = await judge(known, request, presented, now, began, lookup)
        if isinstance(outcome, Decision):
            return outcome
        judged = outcome
    return Decision(Verdict.CANNOT_DECIDE, known, why="the facts changed faster than they could be read")


async def judge(
    known: KnownKey, request: ForwardedRequest, presented: PresentedKey, now: float, began: float, lookup: Lookup
) -> Judged:
    """Apply the rules, then take from the limits or count the refusal; one round trip, which confirms the facts."""
    secret = matching_secret(known, presented, lookup.peppers)
    model = known.catalogue.model_at(request.path)
    refusal, terms = first_refusal(known, secret, model, request, now)
    if refusal is None:
        assert terms is not None
        outcome = await take(lookup.link, terms.charge, began, lookup.permitting)
    else:
        terms = None
        outcome = await take(lookup.link, known.counting(model or NO_MODEL), began, lookup.refusing)
    if not isinstance(outcome, Tally):
        return outcome

    known.confirmed = monotonic()
    if secret is not None and secret.pepper != lookup.pepper.id:
        lookup.keep_new_digest(secret, presented)
    verdict = refusal or (Verdict.ALLOWED if outcome.granted else Verdict.OVER_LIMIT)
    return Decision(verdict, known, model.slug if model else "", terms, outcome)


async def decide_without_redis(
    request: ForwardedRequest, presented: PresentedKey, now: float, lookup: Lookup
) -> Decision:
    """Keys and permissions by facts that are a lease old at most, no limits; what passes is counted later, once."""
    try:
        known = await lookup.without_redis(presented.public_id, settings.LEASE_SECONDS)
    except FactsUnavailable as error:
        return Decision(Verdict.CANNOT_DECIDE, why=f"redis is away, and {error}")
    if known is None:
        return Decision(Verdict.UNKNOWN_KEY, why="redis is away")
    secret = matching_secret(known, presented, lookup.peppers)
    model = known.catalogue.model_at(request.path)
    refusal, terms = first_refusal(known, secret, model, request, now)
    slug = model.slug if model else ""
    if refusal is not None:
        return Decision(refusal, known, slug, why="redis is away")
    assert terms is not None
    lookup.owed.note(terms.charge)
    return Decision(Verdict.ALLOWED, known, slug, terms, why="redis is away")


def first_refusal(
    known: KnownKey, secret: SecretFacts | None, model: ModelFacts | None, request: ForwardedRequest, now: float
) -> tuple[Verdict | None, Terms | None]:
    """The first rule that says no, and the terms of a secret and a model that exist.

    Facts are frozen: a rule that is about them alone and lets a secret and a model pass is not asked again.
    """
    rules, terms = RULES, None
    if secret is not None and model is not None:
        terms = known.terms(model, secret.id)
        rules = terms.rules or _rules_left(terms, known, secret, model, request, now)
    for verdict, says_no, _ in rules:
        if says_no(known, secret, model, request, now):
            return verdict, terms
    return None, terms


Says = Callable[[KnownKey, SecretFacts | None, ModelFacts | None, ForwardedRequest, float], bool]
Rule = tuple[Verdict, Says, Literal["facts", "call"]]

# Every rule in its order, cheap and certain ones first: the verdict, when it is given, and what it is about: frozen
# facts alone, or also the call and its time. Of `k`, the known key; `s`, its secret that was presented; `m`, the model
# at the path; `r`, the request. What needs a model comes after UNKNOWN_MODEL. `explain` asks this same table.
RULES: tuple[Rule, ...] = (
    (Verdict.WRONG_SECRET, lambda k, s, m, r, now: s is None and not _is_over(k), "facts"),
    (Verdict.REVOKED_KEY, lambda k, s, m, r, now: k.key.revoked, "facts"),
    (Verdict.EXPIRED_KEY, lambda k, s, m, r, now: k.key.has_expired(now) or bool(s and s.has_ended(now)), "call"),
    (Verdict.ACCOUNT_CLOSED, lambda k, s, m, r, now: k.account.state == "closed", "facts"),
    (Verdict.ACCOUNT_SUSPENDED, lambda k, s, m, r, now: k.account.state not in ("active", "closed"), "facts"),
    (Verdict.ADDRESS_NOT_ALLOWED, lambda k, s, m, r, now: not k.key.admits_address(r.client), "call"),
    (Verdict.METHOD_NOT_ALLOWED, lambda k, s, m, r, now: not k.key.admits_method(r.method), "call"),
    (Verdict.UNKNOWN_MODEL, lambda k, s, m, r, now: m is None, "facts"),
    (Verdict.PIN_MISMATCH, lambda k, s, m, r, now: m is not None and r.pin not in ("", m.slug), "call"),
    (Verdict.MODEL_NOT_ALLOWED, lambda k, s, m, r, now: m is not None and not k.may_use(m), "facts"),
    (Verdict.COST_OVER_BURST, lambda k, s, m, r, now: m is not None and not k.fits(m), "facts"),
)


def _is_over(known: KnownKey) -> bool:
    """Of a key that is over nobody keeps the secrets: why it is refused is all that is left to say. One without secrets
    that is neither revoked nor of a closed account is just being published again, and refused meanwhile."""
    return known.key.is_over and (known.key.revoked or known.account.state == "closed")


def _rules_left(
    terms: Terms, known: KnownKey, secret: SecretFacts, model: ModelFacts, request: ForwardedRequest, now: float
) -> tuple[Rule, ...]:
    terms.rules = tuple(rule for rule in RULES if rule[2] == "call" or rule[1](known, secret, model, request, now))
    return terms.rules


def matching_secret(known: KnownKey, presented: PresentedKey, peppers: dict[str, Pepper]) -> SecretFacts | None:
    """The key's secret that has the presented digest, compared in constant time."""
    for secret in known.key.secrets:
        pepper = peppers.get(secret.pepper)
        if pepper is not None and compare_digest(presented.digest_with(pepper), secret.digest):
            return secret
    return None
