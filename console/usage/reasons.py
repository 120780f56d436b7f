"""Why calls were refused, in words, and what to do about each."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy

from authsvc.gate.verdict import Verdict
from console.limits import end_of, sentence
from console.templatetags.console import as_html, when
from quotas.limits import CALENDAR, Limit
from quotas.usage.refusals import LimitName

Words = str | Promise


class Reason(NamedTuple):
    """A reason's title, what to do about it, and the code of the public page that explains it."""

    title: Words
    advice: Words
    code: str


OPERATOR = gettext_lazy("Contact the operator of this service.")

# By the verdict's word.
WORDS: dict[str, tuple[Words, Words]] = {
    "wrong_secret": (
        gettext_lazy("Wrong secret"),
        gettext_lazy("The key’s id is right, its secret is not: perhaps one from before a rotation. Give the new one."),
    ),
    "revoked_key": (
        gettext_lazy("Key revoked"),
        gettext_lazy("A program still uses this key. Give it a different one."),
    ),
    "paused_key": (gettext_lazy("Key paused"), gettext_lazy("Resume the key on its page to let these calls in again.")),
    "expired_key": (
        gettext_lazy("Key expired"),
        gettext_lazy("Change when the key expires, or give the program a new one. After a rotation: the new secret."),
    ),
    "account_suspended": (gettext_lazy("Account suspended"), OPERATOR),
    "account_closed": (gettext_lazy("Account closed"), OPERATOR),
    "address_not_allowed": (
        gettext_lazy("Address not allowed"),
        gettext_lazy(
            "The calls come from outside of the key’s networks. If they are yours, add their network to the key."
        ),
    ),
    "method_not_allowed": (
        gettext_lazy("Method not allowed"),
        gettext_lazy("The key is limited to certain HTTP methods. Add this one, or call with a method that it allows."),
    ),
    "unknown_model": (
        gettext_lazy("Unknown model"),
        gettext_lazy("No model has this path: check the model’s name in the address."),
    ),
    "pin_mismatch": (
        gettext_lazy("Wrong address for the model"),
        gettext_lazy("The model does not answer at this path: check the address. If it is right, tell the operator."),
    ),
    "model_not_allowed": (
        gettext_lazy("Model not allowed"),
        gettext_lazy("The key is limited to other models. Add this one to the key."),
    ),
    "cost_over_burst": (
        gettext_lazy("Call too large"),
        gettext_lazy("One call to this model costs more than a limit ever has room for. Ask for a larger limit."),
    ),
}
NOT_IN_THE_PLAN = gettext_lazy("The plan does not include this model. Ask for a plan that does.")


def reason_of(word: str, *, model: str, plan_models: set[str]) -> Reason:
    """The reason of a rule's verdict. A word that this version does not know stands for itself."""
    title, advice = WORDS.get(word, (word.replace("_", " ").capitalize(), ""))
    if word == Verdict.MODEL_NOT_ALLOWED.word and model not in plan_models:
        advice = NOT_IN_THE_PLAN
    return Reason(title, advice, _code_of(word))


def over(name: LimitName, limit: Limit | None, now: datetime) -> Reason:
    """The reason of a call over a limit; None where the limit is gone by now."""
    if limit is None:
        return Reason(gettext("Over a limit"), gettext("The limit has been removed since."), Verdict.OVER_LIMIT.code)
    title = gettext("Over a limit: %(limit)s") % {"limit": sentence(limit)}
    if name.window in CALENDAR:
        words = gettext("Once used up, it renews on %(when)s. A different plan has more room.")
        advice: Words = as_html(words, when=when(end_of(name.window, now)))
    else:
        advice = gettext("It makes room again all the time: spread the calls, or wait as long as Retry-After says.")
    return Reason(title, advice, Verdict.OVER_LIMIT.code)


def _code_of(word: str) -> str:
    return next((verdict.code for verdict in Verdict if verdict.word == word), "")
