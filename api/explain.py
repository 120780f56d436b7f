"""Explain: what the gate would say to a request, and why, for owners and operators."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.http import Http404
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import ApiKey
from api.base.access import Action, Caller, find
from api.base.fields import AnySerializer, Strict, Text
from api.base.resource import View, body_of, counted_for, take_from
from api.limits import LimitLeft
from authsvc.gate.explain import ANYWHERE, Check, Explanation, Scenario, explain, in_words
from authsvc.gate.verdict import Verdict
from quotas.limits import EVERY_MODEL
from store.throttles import EXPLANATIONS


class Explain(View):
    def post(self, request: Request) -> Response:
        """The ordered checks with their outcomes, and what each limit has left. Nothing is taken or counted."""
        self.caller.require(Action.EXPLAIN)
        wanted = body_of(request, ExplainIn)
        string = wanted.pop("string", "")
        key_id = wanted.pop("key", "")
        # Whose key a string is, only the explanation tells: it counts for the person who asks.
        account = _find_key(self.caller, key_id).account if key_id else None
        take_from(EXPLANATIONS, counted_for(self.caller, account))
        explained = explain(Scenario(key_id=key_id, text=string, **wanted))
        if string:
            _refuse_of_others(self.caller, explained)
        return Response(in_words(explained if self.caller.is_operator else _of_the_plan(explained, wanted["model"])))


def _find_key(caller: Caller, public_id: str) -> ApiKey:
    return find(caller, Action.EXPLAIN, ApiKey.objects.select_related("account"), "account__", public_id=public_id)


def _refuse_of_others(caller: Caller, explained: Explanation) -> None:
    """A string leads to its key; somebody else's key is as unknown as one that does not exist."""
    if explained.known is not None:
        _find_key(caller, explained.known.key.public_id)
    elif explained.verdict is Verdict.UNKNOWN_KEY and not caller.is_operator:
        raise Http404


def _of_the_plan(explained: Explanation, named: str) -> Explanation:
    """Of a model that the key may not use, what the gate says and no more: not its cost, no limit of its own, not its
    name where a path was asked for."""
    outcomes = {check.name: check.outcome for check in explained.checks}
    if outcomes.get(Verdict.MODEL_NOT_ALLOWED.word) != "refused":
        return explained
    untold = (Verdict.COST_OVER_BURST.word, Verdict.OVER_LIMIT.word)
    checks = tuple(Check(one.name, "not_asked") if one.name in untold else one for one in explained.checks)
    # What is left of the others is the key's own business; whether they refuse depends on what a call costs.
    limits = tuple(state._replace(refuses=False) for state in explained.limits if state.limit.model == EVERY_MODEL)
    return replace(explained, checks=checks, limits=limits, headers={}, wait=0, model=named)


class ExplainIn(Strict):
    """`key` or `string`; `model` or `path`, or both."""

    key = Text(
        required=False, max_length=16, help_text="The key's id: it is explained as if its newest secret was sent."
    )
    string = Text(
        required=False, max_length=1024, trim_whitespace=False,
        help_text="A key as a client sends it. It is neither kept nor repeated.",
    )  # fmt: skip
    model = Text(required=False, max_length=63, default="", help_text="The model; its own path unless `path` is given.")
    path = Text(required=False, max_length=8192, default="", help_text="The path that the client asks for.")
    method = Text(required=False, max_length=16, default="POST")
    address = Text(required=False, max_length=64, default=ANYWHERE, help_text="The client's address.")

    def validate(self, attrs: dict[str, Any]) -> Any:
        if bool(attrs.get("key")) is bool(attrs.get("string")):
            raise ValidationError({"key": "Write either a key's id in `key` or the key itself in `string`."})
        if not attrs["model"] and not attrs["path"]:
            raise ValidationError({"model": "Write a model, a path, or both."})
        return attrs


class CheckOut(AnySerializer):
    check = serializers.CharField(help_text="`forwarded_request`, `presented_key`, or the word of a refusal.")
    outcome = serializers.ChoiceField(choices=("passed", "refused", "not_asked"))
    why = serializers.CharField(allow_null=True, help_text="The word of the refusal, where the check has several.")


class LimitAsked(LimitLeft):
    refuses = serializers.BooleanField()


class ExplainOut(AnySerializer):
    verdict = serializers.CharField(help_text="The word that the gate's log would have.")
    status = serializers.IntegerField()
    detail = serializers.CharField(allow_blank=True, help_text="What a client would be told.")
    key = serializers.CharField(allow_null=True)
    account = serializers.CharField(allow_null=True)
    plan = serializers.CharField(allow_null=True)
    model = serializers.CharField(allow_null=True)
    checks = CheckOut(many=True)
    limits = LimitAsked(many=True)
    retry_after = serializers.IntegerField(allow_null=True, help_text="Seconds until the limits would let it pass.")
    why = serializers.CharField(allow_null=True, help_text="Why it could not be decided.")
