"""Limits: those that apply to a key and a model now, with what is left of them."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import ApiKey
from accounts.plan_models import models_of_key
from api.base.access import Action, Caller
from api.base.addresses import EXAMPLE_ACCOUNT, EXAMPLE_KEY
from api.base.fields import Input, Output, Text
from api.base.operations import Operation, at
from api.base.resource import View, counted_for, take_from
from authsvc.gate.answer import rate_limit
from authsvc.gate.explain import Unanswered, limit_in_words, look_at_limits, states_of
from quotas.models import ServedModel
from store.throttles import LOOKS


class CannotTell(APIException):
    status_code = 503
    default_detail = "Redis or the database cannot be reached, so what is left is unknown. Try again."
    wait = 1


class LimitsQuery(Input):
    key = Text(max_length=16, help_text="The key's id.")
    model = Text(max_length=63, help_text="The model's slug.")


class LimitLeft(Output):
    example = {
        "name": "minute",
        "per": "key",
        "model": "*",
        "unit": "requests",
        "window": "minute",
        "amount": 60,
        "burst": 10,
        "left": 9,
        "whole_in": 1,
    }

    name = serializers.CharField(help_text="The policy's name in `RateLimit`.")
    per = serializers.CharField(help_text="`key` or `account`.")
    model = serializers.CharField(help_text="A model, or `*` for all models together.")
    unit = serializers.CharField()
    window = serializers.CharField()
    amount = serializers.IntegerField()
    burst = serializers.IntegerField(allow_null=True)
    left = serializers.IntegerField(help_text="Of the burst, or of the amount of a day or month.")
    whole_in = serializers.IntegerField(help_text="Seconds until all of it is available again.")


class LimitsOut(Output):
    example = {
        "key": EXAMPLE_KEY,
        "account": EXAMPLE_ACCOUNT,
        "plan": "free",
        "model": "en_core_web_sm",
        "cost": 1,
        "limits": [LimitLeft.example],
        "headers": {"ratelimit": '"minute";r=9;t=1', "ratelimit-policy": '"minute";q=60;w=60'},
    }

    key = serializers.CharField()
    account = serializers.CharField()
    plan = serializers.CharField()
    model = serializers.CharField()
    cost = serializers.IntegerField(help_text="Units that one call costs.")
    limits = LimitLeft(many=True)
    headers = serializers.DictField(
        child=serializers.CharField(), help_text="`ratelimit` and `ratelimit-policy` as the gate would send them."
    )


@at("limits/", name="limits")
class Limits(View):
    @Operation(id="read_limits", tag="usage", who=(Action.READ_USAGE,), query=LimitsQuery, answer=LimitsOut)
    def get(self, request: Request) -> Response:
        """Read what is left of the limits of a key and a model. These are the gate's own numbers, and reading takes
        nothing. Shadow limits are not shown, as in the gate's headers."""
        query = self.read_query()
        key = self.find(ApiKey.objects.select_related("account__plan"), "account__", public_id=query["key"])
        take_from(LOOKS, counted_for(self.caller, key.account))
        known = models_shown(self.caller, key)
        try:
            look = look_at_limits(key.public_id, query["model"]) if query["model"] in known else None
        except Unanswered as error:
            raise CannotTell from error
        if look is None:
            words = ", ".join(sorted(known)[:100]) or "none"
            raise ValidationError({"model": f"Unknown model. Known models: {words}."})
        facts, terms, usage = look
        return self.show(
            {
                "key": key.public_id,
                "account": facts.account.public_id,
                "plan": facts.account.plan,
                "model": terms.charge.model,
                "cost": terms.charge.cost,
                "limits": [limit_in_words(state) for state in states_of(terms, usage)],
                "headers": {name.decode(): value.decode() for name, value in rate_limit(terms, usage.meters)},
            }
        )


def models_shown(caller: Caller, key: ApiKey) -> set[str]:
    """The models whose limits the caller may see: those that the key can call; for an operator, all of them."""
    if caller.is_operator:
        return set(ServedModel.objects.filter(enabled=True).values_list("slug", flat=True))
    return models_of_key(key)
