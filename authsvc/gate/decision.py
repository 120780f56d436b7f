"""`decide()`: every refusal of the gate, in the order of the checks.

Checks that cost nothing come first; the limits are last because they spend.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from hmac import compare_digest
from time import monotonic

from django.conf import settings

from accounts.facts.facts import SecretFacts
from accounts.facts.known import HeldKey, KnownKey
from accounts.facts.lookup import FactsUnavailable, Lookup
from accounts.keys import FORGED, Pepper, PresentedKey
from authsvc.gate.forwarded import (
    CLEAN_URI,
    LONGEST_URI,
    METHODS,
    PATH,
    ForwardedRequest,
    GateRequest,
    first_address,
    has_clean_path,
    pinned_model,
)
from authsvc.gate.grounds import Grounds, Rule, charge_for, counting
from authsvc.gate.presented import ForeignKey, could_be_imported, keys_in
from authsvc.gate.question import Question
from authsvc.gate.verdict import ALLOWED, FORGED_KEY, INCOMPLETE_KEY, Verdict
from quotas.buckets import Stale, Tally, Unloaded, take
from runtime.errand import due_by
from store.clients import StoreRefused, StoreUnavailable

TRIES = 3
LONGEST_REMEMBERED = 512  # bytes of a request that is read once, if it comes again


class Decision:
    """A verdict with what it was made of.

    `why` is for the log alone; `protocols` are the subprotocols that a websocket offers to the model.
    """

    __slots__ = ("grounds", "known", "protocols", "request", "tally", "verdict", "why")

    def __init__(
        self,
        verdict: Verdict,
        request: ForwardedRequest | None = None,
        known: KnownKey | None = None,
        grounds: Grounds | None = None,
        tally: Tally | None = None,
        why: str = "",
    ) -> None:
        self.verdict, self.request, self.known = verdict, request, known
        self.grounds, self.tally, self.why = grounds, tally, why
        self.protocols = b""

    @property
    def model(self) -> str:
        """The model's slug, "" where there is no such model."""
        return "" if self.grounds is None or self.grounds.model is None else self.grounds.model.slug


async def decide(asked: GateRequest, now: float, deadline: float, lookup: Lookup) -> Decision:
    """Whether the request may pass at `now` (seconds since 1970), decided by `deadline` (monotonic seconds)."""
    request = read_request(asked)
    if not isinstance(request, ForwardedRequest):
        return Decision(request)

    key = read_key(asked.headers, lookup)
    if not isinstance(key, PresentedKey):
        identified = await identify(key, asked.headers, deadline, lookup)
        if isinstance(identified, Decision):
            identified.request = request
            return identified
        key = identified

    return await judge(Question(request, key, now, deadline), lookup)


# 1. The request, as Traefik forwards it. What is not clean is refused, never repaired.


def read_request(asked: GateRequest) -> ForwardedRequest | Verdict:
    headers = asked.headers
    uri, method = headers.get(b"x-forwarded-uri"), headers.get(b"x-forwarded-method")
    source = headers.get(b"x-forwarded-for")
    if asked.path != PATH or asked.repeats or uri is None or method is None or source is None:
        return Verdict.NOT_FORWARDED
    # Clients mostly repeat themselves.
    is_short = len(uri) + len(method) + len(source) + len(asked.query) <= LONGEST_REMEMBERED
    return (read_again if is_short else read_forwarded)(uri, method, source, asked.query)


def read_forwarded(uri: bytes, method: bytes, source: bytes, query: bytes) -> ForwardedRequest | Verdict:
    client = first_address(source)
    if client is None:
        return Verdict.NOT_FORWARDED

    if len(uri) > LONGEST_URI:  # before the pattern, which takes time for each byte
        return Verdict.URI_TOO_LONG
    clean = CLEAN_URI.fullmatch(uri)
    if clean is None:
        return Verdict.UNCLEAN_QUERY if has_clean_path(uri) else Verdict.UNCLEAN_PATH

    known_method = METHODS.get(method)
    if known_method is None:
        return Verdict.METHOD_NOT_ALLOWED
    pin = pinned_model(query)
    if pin is None:
        return Verdict.PIN_MISMATCH
    return ForwardedRequest(known_method, clean[1].decode(), client, pin)


read_again = lru_cache(4096)(read_forwarded)


# 2. The key that it presents.


def read_key(headers: dict[bytes, bytes], lookup: Lookup) -> PresentedKey | ForeignKey | Verdict:
    """By the string alone, without any I/O."""
    given = keys_in(headers)
    if len(given) != 1:
        return Verdict.SEVERAL_KEYS if given else Verdict.NO_KEY

    text, reader, catalogue = given[0], lookup.reader, lookup.catalogue
    key = reader.read(text, trust_crc=catalogue is not None and catalogue.foreign_checks)
    if isinstance(key, PresentedKey):
        return key
    if not text.startswith(reader.ours):
        is_foreign = lookup.takes_imported and could_be_imported(text)
        return ForeignKey(text) if is_foreign else Verdict.FOREIGN_KEY
    return FORGED_KEY if key is FORGED else INCOMPLETE_KEY


async def identify(
    key: PresentedKey | ForeignKey | Verdict, headers: dict[bytes, bytes], deadline: float, lookup: Lookup
) -> PresentedKey | Decision:
    """The key, where its string alone does not tell."""
    # Only the catalogue says whether a check may belong to a pepper that is gone, and a cold process has none.
    is_cold = key is FORGED_KEY and lookup.catalogue is None
    if isinstance(key, Verdict) and not is_cold:
        return Decision(key)

    try:
        async with due_by(deadline):
            if is_cold:
                await lookup.learn_catalogue()
                key = read_key(headers, lookup)
            if isinstance(key, ForeignKey):
                key = await lookup.find_imported(key.text) or Verdict.UNKNOWN_KEY
    except (TimeoutError, StoreUnavailable, FactsUnavailable) as error:
        return cannot_decide(error)
    return Decision(key) if isinstance(key, Verdict) else key


# 3. Facts. They may be old, so whatever follows from them is confirmed by Redis before it is answered.


async def judge(question: Question, lookup: Lookup) -> Decision:
    """Decide by what this process knows; where Redis has other versions, renew the facts and decide again."""
    try:
        # The usual case needs no timer of its own: the pipe keeps the deadline in both round trips.
        held = lookup.recall(question.key.public_id)
        if held is None:
            held = await lookup.recall_from_redis(question.key, question.deadline)
        outcome = await confirm(held, question, lookup) if held is not None else None
        if isinstance(outcome, Decision):
            return outcome
        async with due_by(question.deadline):
            return await judge_afresh(held, outcome, question, lookup)
    except StoreUnavailable as error:
        # Only where Redis is away: one that is overrun or full must not switch the limits off.
        if settings.WHEN_REDIS_IS_DOWN == "allow" and not isinstance(error, StoreRefused):
            return await judge_without_redis(question, lookup)
        return cannot_decide(error, question.request)
    except (FactsUnavailable, TimeoutError) as error:
        return cannot_decide(error, question.request)


async def judge_afresh(
    held: HeldKey | None, outcome: Stale | Unloaded | None, question: Question, lookup: Lookup
) -> Decision:
    """Find the key's facts, or renew them, until Redis confirms what follows from them."""
    for _ in range(TRIES):
        if held is None:
            held = await lookup.find(question.key)
        elif isinstance(outcome, Stale):
            held = await lookup.renew(held.known, outcome.versions)
        else:
            held = await lookup.load(question.key.public_id)
        if held is None:
            return Decision(Verdict.UNKNOWN_KEY, question.request)

        confirmed = await confirm(held, question, lookup)
        if isinstance(confirmed, Decision):
            return confirmed
        outcome = confirmed
    assert held is not None
    return cannot_decide("the facts changed faster than they could be read", question.request, held.known)


async def judge_without_redis(question: Question, lookup: Lookup) -> Decision:
    """Apply the rules to facts that are one lease old at most, and no limits; what passes is counted later, once."""
    try:
        held = await lookup.without_redis(question.key.public_id, settings.LEASE_SECONDS)
    except FactsUnavailable as error:
        return cannot_decide(f"redis is away, and {error}", question.request)
    if held is None:
        return Decision(Verdict.UNKNOWN_KEY, question.request, why="redis is away")

    grounds = grounds_for(held, question, lookup)
    refusal = first_refusal(grounds, question)
    if refusal is None:
        lookup.owed.note(grounds.charge, question.request.client)
    return Decision(refusal or ALLOWED, question.request, held.known, grounds, why="redis is away")


def cannot_decide(why: object, request: ForwardedRequest | None = None, known: KnownKey | None = None) -> Decision:
    """Nobody can tell now: a key that cannot be looked up is not an invalid key."""
    return Decision(Verdict.CANNOT_DECIDE, request, known, why=str(why) or "out of time")


def grounds_for(held: HeldKey, question: Question, lookup: Lookup) -> Grounds:
    """The facts that the question is about: made once for each secret and model that exist."""
    known = held.known
    secret = matching_secret(known, question.key, lookup.peppers)
    model = known.catalogue.model_at(question.request.path)
    if secret is None or model is None:
        grounds = Grounds(known, secret, model, counting(held, model, lookup))
        grounds.open_rules = open_rules(grounds)
        return grounds

    remembered: Grounds | None = held.beside.get((model.slug, secret.id))
    if remembered is None:
        remembered = Grounds(known, secret, model, charge_for(known, model, secret))
        remembered.open_rules = tuple(open_rules(remembered))
        remembered.keep(held, lookup)
    return remembered


def matching_secret(known: KnownKey, key: PresentedKey, peppers: dict[str, Pepper]) -> SecretFacts | None:
    """The key's secret that has the presented digest, compared in constant time."""
    for secret in known.key.secrets:
        pepper = peppers.get(secret.pepper)
        if pepper is None:
            continue
        digest = key.digest if pepper is key.pepper else key.digest_with(pepper)
        if compare_digest(digest, secret.digest):
            return secret
    return None


# 4. Rules: pure functions of the facts and the question. `explain` asks this same table.


def has_wrong_secret(grounds: Grounds) -> bool:
    """Nobody keeps the secrets of a key that is over: such a key is refused for what ended it."""
    return grounds.secret is None and not grounds.known.is_over


def is_revoked(grounds: Grounds) -> bool:
    return grounds.known.key.revoked


def expires(grounds: Grounds) -> bool:
    """The key does, or the presented secret at the end of a rotation's grace."""
    return grounds.known.key.expires is not None or (grounds.secret is not None and grounds.secret.until is not None)


def has_expired(grounds: Grounds, question: Question) -> bool:
    secret = grounds.secret
    return grounds.known.key.has_expired(question.now) or (secret is not None and secret.has_ended(question.now))


def is_paused(grounds: Grounds) -> bool:
    return grounds.known.key.paused


def account_is_closed(grounds: Grounds) -> bool:
    return grounds.known.account.state == "closed"


def account_is_suspended(grounds: Grounds) -> bool:
    """A state that this version does not know counts as suspended."""
    return grounds.known.account.state not in ("active", "closed")


def is_bound_to_networks(grounds: Grounds) -> bool:
    return bool(grounds.known.key.networks)


def comes_from_elsewhere(grounds: Grounds, question: Question) -> bool:
    return not grounds.known.key.admits_address(question.request.client)


def is_bound_to_methods(grounds: Grounds) -> bool:
    return bool(grounds.known.key.methods)


def uses_another_method(grounds: Grounds, question: Question) -> bool:
    return not grounds.known.key.admits_method(question.request.method)


def asks_for_no_model(grounds: Grounds) -> bool:
    return grounds.model is None


def asks_for_a_model(grounds: Grounds) -> bool:
    return grounds.model is not None


def is_pinned_to_another_model(grounds: Grounds, question: Question) -> bool:
    """The path leads to a model that this router is not for."""
    pin = question.request.pin
    return pin != "" and grounds.model is not None and pin != grounds.model.slug


def may_not_use_the_model(grounds: Grounds) -> bool:
    """The plan does not include it, or the key is narrowed away from it."""
    return grounds.model is not None and not grounds.known.may_use(grounds.model)


def never_fits(grounds: Grounds) -> bool:
    """One call costs more than one of the limits ever has room for."""
    return grounds.model is not None and not grounds.known.has_room_for(grounds.model)


RULES: tuple[Rule, ...] = (
    Rule(Verdict.WRONG_SECRET, has_wrong_secret),
    Rule(Verdict.REVOKED_KEY, is_revoked),
    Rule(Verdict.EXPIRED_KEY, expires, has_expired),
    Rule(Verdict.PAUSED_KEY, is_paused),  # after what resuming would not undo, and before anything about the account
    Rule(Verdict.ACCOUNT_CLOSED, account_is_closed),
    Rule(Verdict.ACCOUNT_SUSPENDED, account_is_suspended),
    Rule(Verdict.ADDRESS_NOT_ALLOWED, is_bound_to_networks, comes_from_elsewhere),
    Rule(Verdict.METHOD_NOT_ALLOWED, is_bound_to_methods, uses_another_method),
    Rule(Verdict.UNKNOWN_MODEL, asks_for_no_model),  # the rules after this one need a model
    Rule(Verdict.PIN_MISMATCH, asks_for_a_model, is_pinned_to_another_model),
    Rule(Verdict.MODEL_NOT_ALLOWED, may_not_use_the_model),
    Rule(Verdict.COST_OVER_BURST, never_fits),
)


def open_rules(grounds: Grounds) -> Iterator[Rule]:
    """The rules that could refuse a call with these facts."""
    return (rule for rule in RULES if rule.by_facts(grounds))


def first_refusal(grounds: Grounds, question: Question) -> Verdict | None:
    for rule in grounds.open_rules:
        by_call = rule.by_call
        if by_call is None or by_call(grounds, question):
            return rule.verdict
    return None


# 5. Limits.


async def confirm(held: HeldKey, question: Question, lookup: Lookup) -> Decision | Stale | Unloaded:
    """Apply the rules, then take from the limits or count the refusal.

    It is one round trip, which takes nothing unless Redis confirms the versions of the facts.
    """
    grounds = grounds_for(held, question, lookup)
    refusal = first_refusal(grounds, question)
    if refusal is None:
        tally = await take(lookup.link, grounds.charge, question.deadline, lookup.permitting, question.request.client)
    else:
        charge = counting(held, grounds.model, lookup)
        tally = await take(lookup.link, charge, question.deadline, lookup.refusing(refusal.word))
    if not isinstance(tally, Tally):
        return tally

    held.confirmed = monotonic()
    if grounds.secret is not None and grounds.secret.pepper != lookup.pepper.id:
        lookup.keep_new_digest(grounds.secret, question.key)
    verdict = refusal or (ALLOWED if tally.granted else Verdict.OVER_LIMIT)
    return Decision(verdict, question.request, held.known, grounds, tally)
