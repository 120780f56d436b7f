"""Limits: what applies to a key and a model now, with what is left."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import ApiKey
from accounts.plan_models import models_of_key
from api.base.access import Action, Caller, find
from api.base.fields import AnySerializer, Strict, Text
from api.base.resource import View, counted_for, query_of, take_from
from authsvc.gate.answer import rate_limit
from authsvc.gate.explain import Unanswered, limit_in_words, look_at_limits, states_of
from quotas.models import ServedModel
from store.throttles import LOOKS


class CannotTell(APIException):
    status_code = 503
    default_detail = "Redis or the database cannot be reached, so nobody can tell what is left. Try this again."
    wait = 1


class Limits(View):
    def get(self, request: Request) -> Response:
        """The gate's own numbers; nothing is taken. Limits in shadow are not shown, as in the gate's headers."""
        query = query_of(request, LimitsQuery)
        keys = ApiKey.objects.select_related("account__plan")
        key = find(self.caller, Action.READ_USAGE, keys, "account__", public_id=query["key"])
        take_from(LOOKS, counted_for(self.caller, key.account))
        known = models_shown(self.caller, key)
        try:
            look = look_at_limits(key.public_id, query["model"]) if query["model"] in known else None
        except Unanswered as error:
            raise CannotTell from error
        if look is None:
            there_are = ", ".join(sorted(known)[:100]) or "none"
            raise ValidationError({"model": f"There is no such model; there are: {there_are}."})
        facts, terms, usage = look
        return Response(
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
    """Whose limits the caller may see: those that the key can call. An operator sees those of every model."""
    if caller.is_operator:
        return set(ServedModel.objects.filter(enabled=True).values_list("slug", flat=True))
    return models_of_key(key)


class LimitsQuery(Strict):
    key = Text(max_length=16, help_text="The key's id.")
    model = Text(max_length=63, help_text="The model's slug.")


class LimitLeft(AnySerializer):
    name = serializers.CharField(help_text="The policy's name in `RateLimit`.")
    per = serializers.CharField(help_text="`key` or `account`.")
    model = serializers.CharField(help_text="A model, or `*` for all together.")
    unit = serializers.CharField()
    window = serializers.CharField()
    amount = serializers.IntegerField()
    burst = serializers.IntegerField(allow_null=True)
    left = serializers.IntegerField(help_text="Of the burst, or of a day's or month's amount.")
    whole_in = serializers.IntegerField(help_text="Seconds until it is whole again.")


class LimitsOut(AnySerializer):
    key = serializers.CharField()
    account = serializers.CharField()
    plan = serializers.CharField()
    model = serializers.CharField()
    cost = serializers.IntegerField(help_text="Units that one call takes.")
    limits = LimitLeft(many=True)
    headers = serializers.DictField(
        child=serializers.CharField(), help_text="`ratelimit` and `ratelimit-policy` as the gate would send them."
    )
