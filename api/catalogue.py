"""Models and plans, as far as the caller's accounts have to do with them. Operators see all."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import F, Prefetch, Q, QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from api.base.access import Action, Caller, find_account, seen_by
from api.base.fields import AnySerializer, Text
from api.base.paging import PageQuery, Pages, order_of
from api.base.resource import View, query_of
from quotas import limits
from quotas.limits import EVERY_MODEL
from quotas.models import Plan, PlanLimit, ServedModel, included_in


class ModelPages(Pages):
    orders = {"id": "slug"}


class PlanPages(Pages):
    orders = {"id": "name"}


class Models(View):
    pagination_class = ModelPages

    def get(self, request: Request) -> Response:
        """The models that the plans of your accounts include."""
        query = query_of(request, CatalogueQuery)
        models = ServedModel.objects.all()
        plans = plans_seen_by(self.caller, query.get("account"))
        if plans is not None:
            models = models.filter(included_in(plans), enabled=True).distinct()
        return self.page(models, ModelOut, order_of(query, "id"))


class Plans(View):
    pagination_class = PlanPages

    def get(self, request: Request) -> Response:
        """The plans of your accounts, with their limits."""
        query = query_of(request, CatalogueQuery)
        plans = plans_seen_by(self.caller, query.get("account"))
        shown, models = PlanLimit.objects.select_related("model"), ServedModel.objects.all()
        if not self.caller.is_operator:
            models = models.filter(enabled=True)
            # A limit in shadow is the operator's rehearsal, and one for a model outside of the plan names that model.
            of_plan = Q(model__enabled=True) & (Q(plan__all_models=True) | Q(model__plans=F("plan")))
            shown = shown.filter(Q(model=None) | of_plan, shadow=False).distinct()
        rows = Plan.objects.all() if plans is None else plans
        rows = rows.prefetch_related(Prefetch("served_models", queryset=models))
        rows = rows.prefetch_related(Prefetch("limits", queryset=shown.order_by("name")))
        return self.page(rows, PlanOut, order_of(query, "id"))


def plans_seen_by(caller: Caller, account: str | None) -> QuerySet[Plan] | None:
    """The plans of one account or of all that the caller has; None for an operator who asks for all."""
    if account is not None:
        return Plan.objects.filter(accounts=find_account(caller, Action.READ_ACCOUNT, account))
    if caller.is_operator:
        return None
    accounts = seen_by(caller, Account.objects.all()).values("plan")
    return Plan.objects.filter(pk__in=accounts)


class CatalogueQuery(PageQuery):
    account = Text(required=False, help_text="Only what this account's plan has.")
    order = serializers.ChoiceField(choices=("id", "-id"), default="id")


class ModelOut(AnySerializer):
    id = serializers.CharField(source="slug")
    title = serializers.CharField(allow_blank=True)
    url = serializers.SerializerMethodField(help_text="Where to call it.")
    cost = serializers.IntegerField(help_text="Units that one call takes.")
    enabled = serializers.BooleanField()

    def get_url(self, model: ServedModel) -> str:
        return f"{settings.GATEWAY_URL}{model.path}"


class PlanLimitOut(AnySerializer):
    name = serializers.CharField()
    per = serializers.ChoiceField(choices=limits.SCOPES, source="scope")
    amount = serializers.IntegerField()
    window = serializers.ChoiceField(choices=limits.WINDOWS)
    unit = serializers.ChoiceField(choices=limits.UNITS)
    model = serializers.SerializerMethodField()
    burst = serializers.IntegerField(allow_null=True)
    shadow = serializers.BooleanField(help_text="Counted and never refused; operators alone see such limits.")

    def get_model(self, row: Any) -> str:
        return row.model.slug if row.model else EVERY_MODEL


class PlanOut(AnySerializer):
    id = serializers.CharField(source="name")
    title = serializers.CharField(allow_blank=True)
    models = serializers.SerializerMethodField(help_text='`["*"]`: every model but new ones.')
    max_keys = serializers.IntegerField(help_text="Keys that an account may have, neither revoked nor expired.")
    limits = PlanLimitOut(many=True, source="limits.all")

    def get_models(self, plan: Plan) -> list[str]:
        return [EVERY_MODEL] if plan.all_models else sorted(model.slug for model in plan.served_models.all())
