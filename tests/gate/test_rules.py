"""The rules as pure functions: what each refuses, and which of two comes first."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from ipaddress import ip_network
from itertools import combinations

import pytest

from accounts.facts.facts import AccountFacts, KeyFacts, SecretFacts
from accounts.facts.known import KnownKey
from accounts.keys import Pepper, PresentedKey, digest_of
from authsvc.gate.decision import RULES, first_refusal, matching_secret, open_rules
from authsvc.gate.forwarded import ForwardedRequest
from authsvc.gate.grounds import Grounds, charge_for
from authsvc.gate.question import Question
from authsvc.gate.verdict import Verdict
from quotas.facts import CatalogueFacts, ModelFacts, PlanFacts, catalogue_from_json
from quotas.limits import Limit

NOW = 1_800_000_000.0
SECRET = SecretFacts(1, b"", "", None)
KEY = KeyFacts("A" * 16, 1, (SECRET,), None, (), frozenset(), (), None, False)
ACCOUNT = AccountFacts("A" * 8, 1, "active", "free", 0, {})
MODEL = ModelFacts("sm", "/sm", 5, True)
UNITS = Limit(name="units", scope="key", amount=9, window="day", unit="units")
PLAN = PlanFacts("free", frozenset({"*"}), (UNITS,))
REQUEST = ForwardedRequest("POST", "/sm/ner", "203.0.113.7", "sm")


@dataclass(frozen=True)
class Case:
    """All that a rule looks at. By itself it passes."""

    key: KeyFacts = KEY
    account: AccountFacts = ACCOUNT
    secret: SecretFacts | None = SECRET
    model: ModelFacts | None = MODEL
    plan: PlanFacts = PLAN
    request: ForwardedRequest = REQUEST

    def refusal(self) -> Verdict | None:
        catalogue = CatalogueFacts(1, {"sm": MODEL}, {"free": self.plan}, False, {"/sm": (MODEL,)})
        known = KnownKey.of(self.key, self.account, catalogue)
        grounds = Grounds(known, self.secret, self.model, charge_for(known, self.model or MODEL, self.secret))
        grounds.open_rules = tuple(open_rules(grounds))
        nothing = PresentedKey(self.key.public_id, b"", None, b"")
        return first_refusal(grounds, Question(self.request, nothing, NOW, 0.0))


def because_of(case: Case, verdict: Verdict) -> Case:
    """The case, with what makes this rule refuse it, too."""
    key, account, request = case.key, case.account, case.request
    changes: dict[Verdict, Case] = {
        Verdict.WRONG_SECRET: replace(case, secret=None),
        Verdict.REVOKED_KEY: replace(case, key=replace(key, revoked=True)),
        Verdict.EXPIRED_KEY: replace(case, key=replace(key, expires=NOW)),
        Verdict.PAUSED_KEY: replace(case, key=replace(key, paused=True)),
        Verdict.ACCOUNT_CLOSED: replace(case, account=replace(account, state="closed")),
        Verdict.ACCOUNT_SUSPENDED: replace(case, account=replace(account, state="suspended")),
        Verdict.ADDRESS_NOT_ALLOWED: replace(case, key=replace(key, networks=(ip_network("198.51.100.0/24"),))),
        Verdict.METHOD_NOT_ALLOWED: replace(case, key=replace(key, methods=frozenset({"GET"}))),
        Verdict.UNKNOWN_MODEL: replace(case, model=None),
        Verdict.PIN_MISMATCH: replace(case, request=request._replace(pin="md")),
        Verdict.MODEL_NOT_ALLOWED: replace(case, key=replace(key, models=frozenset({"md"}))),
        Verdict.COST_OVER_BURST: replace(case, plan=replace(case.plan, limits=(replace(UNITS, amount=4),))),
    }
    return changes[verdict]


# What ended the key before what can be undone, the key before the account, the account before the call.
ORDER = [
    Verdict.WRONG_SECRET,
    Verdict.REVOKED_KEY,
    Verdict.EXPIRED_KEY,
    Verdict.PAUSED_KEY,
    Verdict.ACCOUNT_CLOSED,
    Verdict.ACCOUNT_SUSPENDED,
    Verdict.ADDRESS_NOT_ALLOWED,
    Verdict.METHOD_NOT_ALLOWED,
    Verdict.UNKNOWN_MODEL,
    Verdict.PIN_MISMATCH,
    Verdict.MODEL_NOT_ALLOWED,
    Verdict.COST_OVER_BURST,
]
# Two that cannot be true at once: an account has one state, and no rule about the model applies without one.
NEVER_BOTH = {
    (Verdict.ACCOUNT_CLOSED, Verdict.ACCOUNT_SUSPENDED),
    *((Verdict.UNKNOWN_MODEL, later) for later in ORDER[ORDER.index(Verdict.UNKNOWN_MODEL) + 1 :]),
    (Verdict.ACCOUNT_CLOSED, Verdict.COST_OVER_BURST),  # a closed account has no limits
}


def test_the_case_passes_without_a_cause():
    assert Case().refusal() is None


@pytest.mark.parametrize("verdict", ORDER, ids=lambda verdict: verdict.word)
def test_each_rule_refuses_for_its_cause(verdict):
    assert because_of(Case(), verdict).refusal() is verdict


@pytest.mark.parametrize(
    ("first", "second"),
    [pair for pair in combinations(ORDER, 2) if pair not in NEVER_BOTH],
    ids=lambda verdict: verdict.word,
)
def test_of_two_causes_the_first_is_named(first, second):
    assert because_of(because_of(Case(), first), second).refusal() is first


def test_every_rule_is_tried_here():
    assert {rule.verdict for rule in RULES} == set(ORDER)


@pytest.mark.parametrize("state", ["suspended", "frozen", "", "Active"])
def test_a_state_that_this_version_does_not_know_counts_as_suspended(state):
    assert replace(Case(), account=replace(ACCOUNT, state=state)).refusal() is Verdict.ACCOUNT_SUSPENDED


@pytest.mark.parametrize(("amount", "passes"), [(4, False), (5, True), (6, True)])
def test_a_call_fits_into_a_limit_of_exactly_its_cost(amount, passes):
    plan = replace(PLAN, limits=(replace(UNITS, amount=amount),))
    assert (replace(Case(), plan=plan).refusal() is None) is passes


def test_a_limit_in_shadow_refuses_no_call_for_its_cost():
    plan = replace(PLAN, limits=(replace(UNITS, amount=4, shadow=True),))
    assert replace(Case(), plan=plan).refusal() is None


def test_a_limit_of_another_model_refuses_no_call_for_its_cost():
    plan = replace(PLAN, limits=(replace(UNITS, amount=4, model="md"),))
    assert replace(Case(), plan=plan).refusal() is None


@pytest.mark.parametrize(
    ("pin", "verdict"), [("", None), ("sm", None), ("md", Verdict.PIN_MISMATCH), ("SM", Verdict.PIN_MISMATCH)]
)
def test_only_a_pin_on_another_model_refuses(pin, verdict):
    request = REQUEST._replace(pin=pin)
    assert replace(Case(), request=request).refusal() is verdict


def test_the_end_of_a_secrets_grace_is_the_end_of_a_key():
    assert replace(Case(), secret=replace(SECRET, until=NOW)).refusal() is Verdict.EXPIRED_KEY
    assert replace(Case(), secret=replace(SECRET, until=NOW + 1)).refusal() is None


def known_of(key: KeyFacts = KEY, account: AccountFacts = ACCOUNT, *, plan: str = "free") -> KnownKey:
    return KnownKey.of(key, account, CatalogueFacts(1, {"sm": MODEL}, {plan: PLAN}, False, {"/sm": (MODEL,)}))


WITHOUT_SECRETS, CLOSED = replace(KEY, secrets=()), replace(ACCOUNT, state="closed")


@pytest.mark.parametrize(
    ("known", "is_over", "limits"),
    [
        (known_of(), False, (UNITS,)),
        (known_of(replace(KEY, revoked=True)), False, (UNITS,)),
        (known_of(account=replace(ACCOUNT, state="suspended")), False, (UNITS,)),
        (known_of(plan="another"), False, ()),
        (known_of(account=CLOSED), False, ()),
        (known_of(WITHOUT_SECRETS), False, ()),  # it is just being published again
        (known_of(replace(WITHOUT_SECRETS, revoked=True)), True, ()),
        (known_of(WITHOUT_SECRETS, CLOSED), True, ()),
    ],
)
def test_a_key_that_is_over_has_no_limits_as_nothing_keeps_its_counters(known, is_over, limits):
    assert (known.is_over, known.limits) == (is_over, limits)


# Which model a path leads to.


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/sm", "sm"),
        ("/sm/", "sm"),
        ("/sm/ner", "sm"),
        ("/smx", None),
        ("/sm.x", None),
        ("/v1/large", "lg"),
        ("/v1/large/", "lg"),
        ("/v1/large/x", "lg"),
        ("/v1/largex", None),
        ("/v1/large-x/y", None),
        ("/v1", None),
        ("/v1/", None),
        ("/v1/off", None),
        ("/v1/off/x", None),
        ("/", None),
        ("/other/sm", None),
    ],
)
def test_a_path_leads_to_the_enabled_model_whose_segments_it_begins_with(path, model):
    models = {
        "sm": {"path": "/sm", "cost": 1, "enabled": True},
        "lg": {"path": "/v1/large", "cost": 5, "enabled": True},
        "off": {"path": "/v1/off", "cost": 1, "enabled": False},
    }
    text = json.dumps({"version": 1, "models": models, "plans": {}, "foreign_checks": False})
    found = catalogue_from_json(text).model_at(path)
    assert (found and found.slug) == model


# Which of a key's secrets was presented.

OURS, OLD = Pepper.of("ours"), Pepper.of("old")


def presented(pepper: Pepper = OURS) -> PresentedKey:
    return PresentedKey(KEY.public_id, b"body", pepper, digest_of(pepper.mac(b"body")))


def secret(number: int, pepper: Pepper, text: bytes = b"body") -> SecretFacts:
    return SecretFacts(number, digest_of(pepper.mac(text)), pepper.id, None)


@pytest.mark.parametrize(
    ("secrets", "found"),
    [
        ([secret(1, OURS)], 1),
        ([secret(1, OLD)], 1),  # stored under a pepper other than that of the check
        ([secret(1, OURS, b"other"), secret(2, OURS)], 2),
        ([secret(1, Pepper.of("gone")), secret(2, OURS)], 2),
        ([secret(1, Pepper.of("gone"))], None),
        ([secret(1, OURS, b"other")], None),
        ([], None),
    ],
)
def test_the_presented_secret_is_found_among_a_keys(secrets, found):
    known = KnownKey.of(replace(KEY, secrets=tuple(secrets)), ACCOUNT, CatalogueFacts(1, {}, {}, False, {}))
    matching = matching_secret(known, presented(), {pepper.id: pepper for pepper in (OURS, OLD)})
    assert (matching and matching.id) == found
