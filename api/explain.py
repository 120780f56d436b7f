"""Explain: how the gate would answer a request, and why, for owners and operators."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.http import Http404
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import ApiKey
from api.base.access import Action
from api.base.addresses import EXAMPLE_ACCOUNT, EXAMPLE_KEY
from api.base.fields import Input, Output, Text
from api.base.operations import Operation, at
from api.base.resource import View, counted_for, take_from
from api.limits import LimitLeft
from authsvc.gate.explain import ANYWHERE, Check, Explanation, Scenario, explain, in_words
from authsvc.gate.verdict import Verdict
from quotas.limits import EVERY_MODEL
from store.throttles import EXPLANATIONS


class ExplainIn(Input):
    """Either `key` or `string`, and `model`, `path` or both."""

    example = {"key": EXAMPLE_KEY, "path": "/en_core_web_sm/ner", "method": "POST", "address": "203.0.113.7"}

    key = Text(required=False, max_length=16, help_text="The key's id. Its newest secret is assumed to be sent.")
    string = Text(
        required=False,
        max_length=1024,
        trim_whitespace=False,
        help_text="A key as a client sends it. It is neither stored nor repeated.",
    )
    model = Text(
        required=False,
        max_length=63,
        default="",
        help_text="The model. Its own path is assumed unless `path` is given.",
    )
    path = Text(required=False, max_length=8192, default="", help_text="The path that the client requests.")
    method = Text(required=False, max_length=16, default="POST")
    address = Text(required=False, max_length=64, default=ANYWHERE, help_text="The client's address.")

    def validate(self, attrs: dict[str, Any]) -> Any:
        if bool(attrs.get("key")) is bool(attrs.get("string")):
            raise ValidationError({"key": "Send either a key's id in `key` or the key itself in `string`."})
        if not attrs["model"] and not attrs["path"]:
            raise ValidationError({"model": "Send a model, a path, or both."})
        return attrs


class CheckOut(Output):
    check = serializers.CharField(help_text="`forwarded_request`, `presented_key`, or a verdict.")
    outcome = serializers.ChoiceField(choices=("passed", "refused", "not_asked"))
    why = serializers.CharField(allow_null=True, help_text="The verdict, where the check has several.")


class LimitAsked(LimitLeft):
    example = {**LimitLeft.example, "refuses": False}

    refuses = serializers.BooleanField()


class ExplainOut(Output):
    example = {
        "verdict": "method_not_allowed",
        "status": 403,
        "detail": "This API key may not use this method.",
        "key": EXAMPLE_KEY,
        "account": EXAMPLE_ACCOUNT,
        "plan": "free",
        "model": "en_core_web_sm",
        "checks": [
            {"check": "forwarded_request", "outcome": "passed", "why": None},
            {"check": "method_not_allowed", "outcome": "refused", "why": None},
        ],
        "limits": [LimitAsked.example],
        "retry_after": None,
        "why": None,
    }

    verdict = serializers.CharField(help_text="The verdict, as the gate would log it.")
    status = serializers.IntegerField()
    detail = serializers.CharField(allow_blank=True, help_text="The detail that a client would receive.")
    key = serializers.CharField(allow_null=True)
    account = serializers.CharField(allow_null=True)
    plan = serializers.CharField(allow_null=True)
    model = serializers.CharField(allow_null=True)
    checks = CheckOut(many=True)
    limits = LimitAsked(many=True)
    retry_after = serializers.IntegerField(allow_null=True, help_text="Seconds until the limits would allow it.")
    why = serializers.CharField(allow_null=True, help_text="Why the gate could not decide.")


@at("explain/", name="explain")
class Explain(View):
    @Operation(id="explain", tag="usage", who=(Action.EXPLAIN,), body=ExplainIn, answer=ExplainOut)
    def post(self, request: Request) -> Response:
        """Explain how the gate would answer a request: its checks in order with their outcomes, and what is left of
        each limit. Nothing is taken or counted."""
        self.require()
        wanted = self.read_body()
        string = wanted.pop("string", "")
        key_id = wanted.pop("key", "")
        # Only the explanation reveals whose key a string is, so that one counts for the person who asks.
        account = self._find_key(key_id).account if key_id else None
        take_from(EXPLANATIONS, counted_for(self.caller, account))
        explained = explain(Scenario(key_id=key_id, text=string, **wanted))
        if string:
            self._refuse_foreign(explained)
        return Response(in_words(explained if self.caller.is_operator else _of_the_plan(explained, wanted["model"])))

    def _find_key(self, public_id: str) -> ApiKey:
        return self.find(ApiKey.objects.select_related("account"), "account__", public_id=public_id)

    def _refuse_foreign(self, explained: Explanation) -> None:
        """A string identifies its key. Another account's key gets a 404, like one that does not exist."""
        if explained.known is not None:
            self._find_key(explained.known.key.public_id)
        elif explained.verdict is Verdict.UNKNOWN_KEY and not self.caller.is_operator:
            raise Http404


def _of_the_plan(explained: Explanation, named: str) -> Explanation:
    """For a model that the key may not use, only what the gate's answer reveals: not the model's cost, not its own
    limits, and not its name if the caller gave only a path."""
    outcomes = {check.name: check.outcome for check in explained.checks}
    if outcomes.get(Verdict.MODEL_NOT_ALLOWED.word) != "refused":
        return explained
    hidden = (Verdict.COST_OVER_BURST.word, Verdict.OVER_LIMIT.word)
    checks = tuple(Check(one.name, "not_asked") if one.name in hidden else one for one in explained.checks)
    # The key may know what is left of its other limits, but whether they refuse depends on what a call costs.
    limits = tuple(state._replace(refuses=False) for state in explained.limits if state.limit.model == EVERY_MODEL)
    return replace(explained, checks=checks, limits=limits, headers={}, wait=0, model=named)
