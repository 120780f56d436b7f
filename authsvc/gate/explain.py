"""`explain()`: what the gate would answer to a request, and why. Takes nothing, counts nothing, repeats no secret.

The verdict comes from the gate's own code, with a `Lookup` that only looks, and the checks from its own rules.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any, Literal, NamedTuple

from django.conf import settings

from accounts.facts.known import KnownKey
from accounts.facts.lookup import FactsUnavailable, Lookup, Onlooker
from accounts.keys import PresentedKey
from authsvc.gate.answer import rate_limit
from authsvc.gate.app import Gate
from authsvc.gate.decision import (
    RULES,
    TRIES,
    Decision,
    cannot_decide,
    identify,
    judge,
    matching_secret,
    read_key,
    read_request,
)
from authsvc.gate.forwarded import PATH, GateRequest
from authsvc.gate.grounds import NO_MODEL, Grounds, charge_for
from authsvc.gate.question import Question
from authsvc.gate.verdict import Verdict
from quotas.buckets import PEEKING, Stale, Tally, take
from quotas.facts import ModelFacts
from quotas.limits import Limit
from store.clients import StoreUnavailable

CheckOutcome = Literal["passed", "refused", "not_asked"]
ANYWHERE = "127.0.0.1"
PATIENCE_SECONDS = 2.0  # longer than the gate may take: no request waits, and a cold process has to connect first


@dataclass(frozen=True, slots=True)
class Scenario:
    """A request to explain: a key, by its public id or by the string itself, and what it asks for.

    Without a path it is the model's own; with both, the model is the one that the router is pinned to.
    """

    key_id: str = ""
    text: str = field(default="", repr=False)
    model: str = ""
    path: str = ""
    method: str = "POST"
    address: str = ANYWHERE


class Check(NamedTuple):
    """One of the gate's checks. A rule is named by the word of its refusal."""

    name: str
    outcome: CheckOutcome
    why: str = ""


class LimitState(NamedTuple):
    """A limit with what is left of it now and the seconds until it is whole again, in the gate's own numbers."""

    limit: Limit
    left: int
    whole_in: int
    refuses: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    verdict: Verdict
    checks: tuple[Check, ...]
    limits: tuple[LimitState, ...]
    known: KnownKey | None
    model: str
    why: str
    headers: dict[str, str]  # RateLimit and RateLimit-Policy, now
    wait: int  # seconds until the limits would let it pass


class Unanswered(Exception):
    """Redis or the database did not answer, so it cannot be told."""


def explain(scenario: Scenario) -> Explanation:
    """What the gate would answer now. Not for a thread with a running event loop."""
    return asyncio.run(_explain(scenario))


def look_at_limits(key_id: str, model: str) -> tuple[KnownKey, Grounds, Tally] | None:
    """The limits of a key at a model, with what is left; None if key or model does not exist. Raises Unanswered."""
    return asyncio.run(_look_at_limits(key_id, model))


async def _look_at_limits(key_id: str, model: str) -> tuple[KnownKey, Grounds, Tally] | None:
    gate = Gate(Onlooker)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            held = await gate.lookup.find(_by_id(key_id, gate.lookup))
            facts = held.known.catalogue.models.get(model) if held is not None else None
            if held is None or facts is None or not facts.enabled:
                return None
            return await _look(gate.lookup, held.known, facts)
    except (StoreUnavailable, FactsUnavailable, TimeoutError) as error:
        raise Unanswered(str(error) or "out of time") from error
    finally:
        await gate.close()


async def _explain(scenario: Scenario) -> Explanation:
    gate = Gate(Onlooker)
    lookup, deadline = gate.lookup, monotonic() + PATIENCE_SECONDS
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            path = scenario.path or await _path_of(scenario.model, lookup)
            headers = {
                b"x-forwarded-uri": path.encode("utf-8", "replace"),
                b"x-forwarded-method": scenario.method.encode("utf-8", "replace"),
                b"x-forwarded-for": scenario.address.encode("utf-8", "replace"),
            }
            query = f"model={scenario.model}".encode("utf-8", "replace") if scenario.model else b""
            request = read_request(GateRequest(PATH, query, headers, repeats=False))
            if isinstance(request, Verdict):
                return _explained(Decision(request), [Check("forwarded_request", "refused", request.word)])
            key = await _present(scenario, deadline, lookup)
            if isinstance(key, Decision):
                return _explained(key, [_PASSED, _of_key(key)])
            question = Question(request, key, time(), deadline)
            return await _with_rules(await judge(question, lookup), question, lookup)
    except (StoreUnavailable, FactsUnavailable, TimeoutError) as error:
        return _explained(cannot_decide(error), [])
    finally:
        await gate.close()


async def _path_of(model: str, lookup: Lookup) -> str:
    """The path that leads to a model. A model that does not exist has none, and is unknown at any path."""
    await lookup.learn_catalogue()
    assert lookup.catalogue is not None
    facts = lookup.catalogue.models.get(model)
    return facts.path if facts is not None else f"/{model}"


async def _present(scenario: Scenario, deadline: float, lookup: Lookup) -> PresentedKey | Decision:
    """The key as its holder would present it: the string as the gate reads it, or the newest secret of a known id."""
    if not scenario.key_id:
        headers = {b"x-api-key": scenario.text.encode("utf-8", "replace")}
        return await identify(read_key(headers, lookup), headers, deadline, lookup)
    held = await lookup.find(_by_id(scenario.key_id, lookup))
    if held is not None:
        living = [secret for secret in held.known.key.secrets if not secret.has_ended(time())]
        for secret in living or held.known.key.secrets:
            pepper = lookup.peppers.get(secret.pepper)
            if pepper is not None:
                return PresentedKey(scenario.key_id, b"", pepper, secret.digest)
    return _by_id(scenario.key_id, lookup)  # of no such key, or of one whose pepper is gone: no secret matches


def _by_id(key_id: str, lookup: Lookup) -> PresentedKey:
    return PresentedKey(key_id, b"", lookup.pepper, b"")


async def _with_rules(decision: Decision, question: Question, lookup: Lookup) -> Explanation:
    """Ask every rule of the gate's table, also those after the first refusal."""
    known = decision.known
    if known is None:
        return _explained(decision, [_PASSED, _of_key(decision)])
    model = known.catalogue.model_at(question.request.path)
    secret = matching_secret(known, question.key, lookup.peppers)
    grounds = Grounds(known, secret, model, charge_for(known, model or NO_MODEL, secret))
    checks = [_PASSED, Check("presented_key", "passed")]
    needs_model = False
    for rule in RULES:
        outcome: CheckOutcome = "refused" if rule.refuses(grounds, question) else "passed"
        checks.append(Check(rule.verdict.word, "not_asked" if needs_model else outcome))
        needs_model = needs_model or (rule.verdict is Verdict.UNKNOWN_MODEL and model is None)
    look = await _look(lookup, known, model) if model is not None else None
    return _explained(decision, checks, look)


async def _look(lookup: Lookup, known: KnownKey, model: ModelFacts) -> tuple[KnownKey, Grounds, Tally]:
    """What is left of the limits, with facts that Redis confirms."""
    for _ in range(TRIES):
        grounds = Grounds(known, None, model, charge_for(known, model, None))
        outcome = await take(lookup.link, grounds.charge, monotonic() + PATIENCE_SECONDS, PEEKING)
        if isinstance(outcome, Tally):
            return known, grounds, outcome
        key_id = known.key.public_id
        renewed = await (lookup.renew(known, outcome.versions) if isinstance(outcome, Stale) else lookup.load(key_id))
        if renewed is None:
            break
        known = renewed.known
    raise StoreUnavailable("the facts changed faster than they could be read")


def _of_key(decision: Decision) -> Check:
    """Why the presented string is no known key."""
    undecided = decision.verdict is Verdict.CANNOT_DECIDE
    return Check("presented_key", "not_asked" if undecided else "refused", decision.verdict.word)


_PASSED = Check("forwarded_request", "passed")


def _explained(
    decision: Decision, checks: list[Check], look: tuple[KnownKey, Grounds, Tally] | None = None
) -> Explanation:
    """All checks, with what is left of the limits."""
    known = decision.known
    words = ["forwarded_request", "presented_key", *(rule.verdict.word for rule in RULES)]
    checks += [Check(word, "not_asked") for word in words[len(checks) :]]
    limits: tuple[LimitState, ...] = ()
    headers: dict[str, str] = {}
    over = Check(Verdict.OVER_LIMIT.word, "not_asked")
    if look is not None:
        known, grounds, tally = look
        limits = states_of(grounds, tally)
        headers = {name.decode(): value.decode() for name, value in rate_limit(grounds, tally.meters)}
        over = Check(Verdict.OVER_LIMIT.word, "passed" if tally.granted else "refused")
    return Explanation(
        decision.verdict,
        (*checks, over),
        limits,
        known,
        decision.model,
        decision.why,
        headers,
        look[2].wait if look is not None else 0,
    )


def states_of(grounds: Grounds, tally: Tally) -> tuple[LimitState, ...]:
    """The limits that are shown to clients, each with its meters."""
    shown = grounds.charge.shown
    meters = zip(tally.meters[::2], tally.meters[1::2], strict=True)
    return tuple(
        LimitState(limit, left, whole_in, place in tally.violated)
        for place, (limit, (left, whole_in)) in enumerate(zip(shown, meters, strict=True))
    )


def in_words(explained: Explanation) -> dict[str, Any]:
    """An explanation in JSON's types."""
    known, verdict = explained.known, explained.verdict
    return {
        "verdict": verdict.word,
        "status": settings.OVER_LIMIT_STATUS if verdict is Verdict.OVER_LIMIT else verdict.status,
        "detail": verdict.detail,
        "key": known.key.public_id if known else None,
        "account": known.account.public_id if known else None,
        "plan": known.account.plan if known else None,
        "model": explained.model or None,
        "checks": [{"check": one.name, "outcome": one.outcome, "why": one.why or None} for one in explained.checks],
        "limits": [{**limit_in_words(state), "refuses": state.refuses} for state in explained.limits],
        "retry_after": explained.wait or None,
        "why": explained.why or None,
    }


def limit_in_words(state: LimitState) -> dict[str, Any]:
    """A limit with what is left of it, in JSON's types; `left` is of the burst or the quota."""
    limit = state.limit
    return {
        "name": limit.name,
        "per": limit.scope,
        "model": limit.model,
        "unit": limit.unit,
        "window": limit.window,
        "amount": limit.amount,
        "burst": limit.room if limit.is_smoothed else None,
        "left": state.left,
        "whole_in": state.whole_in,
    }
