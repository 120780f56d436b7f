"""Models and plans: for a customer those of their accounts' plans, for an operator all of them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import F, Prefetch, Q, QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from api.base.access import Action, Caller, find_account, seen_by
from api.base.fields import Output, Text
from api.base.operations import Operation, at
from api.base.paging import PageQuery
from api.base.resource import View
from quotas import limits
from quotas.limits import EVERY_MODEL
from quotas.models import Plan, PlanLimit, ServedModel, included_in

_WHO = (Action.READ_CATALOGUE, Action.READ_ACCOUNT)


class CatalogueQuery(PageQuery):
    orders = {"id": "slug"}

    account = Text(required=False, help_text="Only what this account's plan includes.")
    order = serializers.ChoiceField(choices=("id", "-id"), default="id")


class PlanQuery(CatalogueQuery):
    orders = {"id": "name"}


class ModelExampleOut(Output):
    example = {"method": "GET", "path": "/", "body": None, "answer": None}

    method = serializers.CharField()
    path = serializers.CharField(help_text="It continues the model's `url`.")
    body = serializers.JSONField(allow_null=True)
    answer = serializers.JSONField(allow_null=True)


class ModelOut(Output):
    example = {
        "id": "en_core_web_sm",
        "title": "English, small",
        "url": "https://models.example.com/en_core_web_sm",
        "cost": 1,
        "enabled": True,
        "speaks": "",
        "example": {
            "method": "POST",
            "path": "/ner",
            "body": {"text": "Ada Lovelace met Charles Babbage in London."},
            "answer": {"entities": [{"text": "Ada Lovelace", "label": "PERSON"}]},
        },
    }

    id = serializers.CharField(source="slug")
    title = serializers.CharField(allow_blank=True)
    url = serializers.SerializerMethodField(help_text="Where to call it.")
    cost = serializers.IntegerField(help_text="Units that one call costs.")
    enabled = serializers.BooleanField()
    speaks = serializers.ChoiceField(
        choices=("", "openai"), help_text="`openai`: clients of OpenAI's API can call it. Empty: nothing is known."
    )

    def get_fields(self) -> dict[str, Any]:
        """The field `example` of a model; the attribute is this object's, for the reference."""
        words = "A call that works, and what it returns, as the operator wrote them."
        fields: dict[str, Any] = super().get_fields()
        return {**fields, "example": ModelExampleOut(source="as_example", allow_null=True, help_text=words)}

    def get_url(self, model: ServedModel) -> str:
        return f"{settings.GATEWAY_URL}{model.path}"


class PlanLimitOut(Output):
    example = {
        "name": "month",
        "per": "account",
        "amount": 10000,
        "window": "month",
        "unit": "units",
        "model": "*",
        "burst": None,
        "shadow": False,
    }

    name = serializers.CharField()
    per = serializers.ChoiceField(choices=limits.SCOPES, source="scope")
    amount = serializers.IntegerField()
    window = serializers.ChoiceField(choices=limits.WINDOWS)
    unit = serializers.ChoiceField(choices=limits.UNITS)
    model = serializers.SerializerMethodField()
    burst = serializers.IntegerField(allow_null=True)
    shadow = serializers.BooleanField(help_text="Counts but never refuses. Only operators see such limits.")

    def get_model(self, row: Any) -> str:
        return row.model.slug if row.model else EVERY_MODEL


class PlanOut(Output):
    example = {
        "id": "pro",
        "title": "Pro",
        "models": ["*"],
        "max_keys": 100,
        "offered": True,
        "limits": [PlanLimitOut.example],
    }

    id = serializers.CharField(source="name")
    title = serializers.CharField(allow_blank=True)
    models = serializers.SerializerMethodField(help_text='`["*"]`: every model, except newly discovered ones.')
    max_keys = serializers.IntegerField(
        help_text="How many keys an account may have that are neither revoked nor expired."
    )
    offered = serializers.BooleanField(help_text="Whether the console shows it to customers on other plans.")
    limits = PlanLimitOut(many=True, source="limits.all")

    def get_models(self, plan: Plan) -> list[str]:
        return [EVERY_MODEL] if plan.all_models else sorted(model.slug for model in plan.served_models.all())


@at("models/", name="models")
class Models(View):
    @Operation(
        id="list_models",
        tag="catalogue",
        who=_WHO,
        query=CatalogueQuery,
        answer=ModelOut,
        is_list=True,
    )
    def get(self, request: Request) -> Response:
        """List the models that the plans of your accounts include. Operators see all models."""
        query = self.read_query()
        models = ServedModel.objects.all()
        plans = plans_seen_by(self.caller, query.get("account"))
        if plans is not None:
            models = models.filter(included_in(plans), enabled=True).distinct()
        return self.page(models, query["order"])


@at("plans/", name="plans")
class Plans(View):
    @Operation(
        id="list_plans",
        tag="catalogue",
        who=_WHO,
        query=PlanQuery,
        answer=PlanOut,
        is_list=True,
    )
    def get(self, request: Request) -> Response:
        """List the plans of your accounts, with their limits. Operators see all plans."""
        query = self.read_query()
        plans = plans_seen_by(self.caller, query.get("account"))
        rows = plans_shown(Plan.objects.all() if plans is None else plans, to_operators=self.caller.is_operator)
        return self.page(rows, query["order"])


def plans_shown(rows: QuerySet[Plan], *, to_operators: bool) -> QuerySet[Plan]:
    """Plans with everything that PlanOut shows: to customers no model outside the plan, and no shadow limit."""
    shown, models = PlanLimit.objects.select_related("model"), ServedModel.objects.all()
    if not to_operators:
        models = models.filter(enabled=True)
        # A shadow limit is the operator's rehearsal, and a limit for a model outside the plan would name that model.
        of_plan = Q(model__enabled=True) & (Q(plan__all_models=True) | Q(model__plans=F("plan")))
        shown = shown.filter(Q(model=None) | of_plan, shadow=False).distinct()
    rows = rows.prefetch_related(Prefetch("served_models", queryset=models))
    return rows.prefetch_related(Prefetch("limits", queryset=shown.order_by("name")))


def plans_seen_by(caller: Caller, account: str | None) -> QuerySet[Plan] | None:
    """The plans of one account, or of all of the caller's accounts. None for an operator who asks for all plans."""
    if account is not None:
        return Plan.objects.filter(accounts=find_account(caller, Action.READ_ACCOUNT, account))
    if caller.is_operator:
        return None
    accounts = seen_by(caller, Account.objects.all()).values("plan")
    return Plan.objects.filter(pk__in=accounts)
