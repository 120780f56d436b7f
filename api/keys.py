"""Keys for models: listed, issued, changed, rotated and revoked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.caps import MOST_LIMITS, MOST_MODELS, MOST_NETWORKS
from accounts.models import Account, ApiKey, KeyQuerySet
from accounts.plan_models import refuse_foreign
from accounts.services.keys import (
    LONGEST_GRACE,
    METHODS,
    Issued,
    change_key,
    end_rotation,
    issue_key,
    revoke_key,
    rotate_key,
)
from api.base.access import Action, Caller, allowed_to, find, find_account, role_in, seen_by
from api.base.fields import AnySerializer, MadeBy, MadeWith, Metadata, Moment, Strict, Text, TextList, Whole, YesOrNo
from api.base.idempotency import Made, once
from api.base.paging import PageQuery, Pages, order_of
from api.base.resource import View, answer, body_of, count_new_secret, count_write, query_of
from quotas import limits, rules
from quotas.limits import EVERY_MODEL, Limit


class KeyPages(Pages):
    orders = {"created": "id", "name": "name"}


class Keys(View):
    pagination_class = KeyPages

    def get(self, request: Request) -> Response:
        """The keys of all accounts that you may see, newest first."""
        query = query_of(request, KeyQuery)
        if account := query.get("account"):
            rows = keys_shown().filter(account=find_account(self.caller, Action.READ_KEYS, account))
        else:
            rows = allowed_to(self.caller, Action.READ_KEYS, keys_shown(), "account__")
        return self.page(_filtered(rows, query), KeyOut, order_of(query))

    def post(self, request: Request) -> Response:
        """Issue a key. Its text is in this answer and can never be read again."""
        caller = self.caller
        caller.require(Action.ISSUE_KEY)
        wanted = body_of(request, KeyIn)
        account = account_to_act_for(caller, Action.ISSUE_KEY, wanted.pop("account", None))

        def make(secret: str | None) -> Made:
            count_new_secret(caller, account)
            _refuse_foreign(caller, account, wanted)
            return _made(201, issue_key(account, actor=caller.actor, secret=secret, **wanted))

        return once(request, caller, settings.KEY_PREFIX, make)


class Key(View):
    def get(self, request: Request, id: str) -> Response:
        """One key."""
        return Response(KeyOut(find(self.caller, Action.READ_KEYS, keys_shown(), "account__", public_id=id)).data)

    def patch(self, request: Request, id: str) -> Response:
        """Change what is sent and leave the rest. `limits` is the whole list."""
        key = key_to_change(self.caller, id)
        changes = body_of(request, KeyChange, partial=True)
        count_write(self.caller, key.account)
        _refuse_foreign(self.caller, key.account, changes, key)
        publication = change_key(key, actor=self.caller.actor, **changes)
        return answer(publication, 200, shown(key))

    def delete(self, request: Request, id: str) -> Response:
        """Revoke a key: after 204 its next request is refused."""
        key = key_to_change(self.caller, id)
        count_write(self.caller, key.account)
        return answer(revoke_key(key, actor=self.caller.actor), 204, {"id": key.public_id})


class Rotate(View):
    def post(self, request: Request, id: str) -> Response:
        """Give a key a new secret; the old one works until the grace is over, those before it end now."""
        caller = self.caller
        key = key_to_change(caller, id)
        grace = timedelta(seconds=body_of(request, RotateIn)["grace_seconds"])

        def make(secret: str | None) -> Made:
            count_new_secret(caller, key.account)
            return _made(200, rotate_key(key, grace=grace, actor=caller.actor, secret=secret))

        return once(request, caller, settings.KEY_PREFIX, make)


class EndRotation(View):
    def post(self, request: Request, id: str) -> Response:
        """End the grace of old secrets now: their next request is refused."""
        key = key_to_change(self.caller, id)
        count_write(self.caller, key.account)
        publication = end_rotation(key, actor=self.caller.actor)
        return answer(publication, 200, shown(key))


def keys_shown() -> QuerySet[ApiKey]:
    """Keys with all that KeyOut shows, in a number of queries that does not grow with theirs."""
    return ApiKey.objects.select_related("account", "created_by").prefetch_related("secrets", "limits__model")


def shown(key: ApiKey) -> dict[str, Any]:
    return dict(KeyOut(keys_shown().get(pk=key.pk)).data)


def _made(status: int, issued: Issued) -> Made:
    id = issued.key.public_id
    return Made(status, shown(issued.key), id[: len(id) // 2], issued.publication, id, issued.text)


def key_to_change(caller: Caller, id: str) -> ApiKey:
    rows = ApiKey.objects.select_related("account__plan")
    return find(caller, Action.CHANGE_KEY, rows, "account__", public_id=id)


def _refuse_foreign(caller: Caller, account: Account, wanted: dict[str, Any], key: ApiKey | None = None) -> None:
    """An operator may narrow a key to a model that the plan does not have yet; others do not know of it."""
    if not caller.is_operator:
        models, limits = wanted.get("models"), wanted.get("limits") or ()
        refuse_foreign(account.plan, models=models, limits=limits, key=key)


def account_to_act_for(caller: Caller, action: Action, public_id: str | None) -> Account:
    """The account that is named, or the caller's only one."""
    if public_id is not None:
        return find_account(caller, action, public_id)
    mine = seen_by(caller, Account.objects.select_related("plan")).order_by("pk")
    first: list[Account] = list(mine[:2])
    if len(first) != 1 or caller.is_operator:
        ids = ", ".join(mine.values_list("public_id", flat=True)[:20]) or "none"
        words = "Say which account." if caller.is_operator else f"Say which account; yours are: {ids}."
        raise ValidationError({"account": words})
    if not caller.may(action, role_in(first[0])):
        raise PermissionDenied
    return first[0]


def _filtered(rows: QuerySet[ApiKey], query: dict[str, Any]) -> QuerySet[ApiKey]:
    if "name" in query:
        rows = rows.filter(name__icontains=query["name"])
    if "revoked" in query:
        rows = rows.filter(revoked_at__isnull=not query["revoked"])
    if "expires_before" in query:
        rows = rows.filter(expires_at__lt=query["expires_before"])
    if "active" in query:
        assert isinstance(rows, KeyQuerySet)
        rows = rows.active() if query["active"] else rows.inactive()
    return rows


class KeyQuery(PageQuery):
    account = Text(required=False, help_text="Only this account's.")
    name = Text(required=False, max_length=200, help_text="Only those whose name contains this.")
    revoked = YesOrNo(required=False, help_text="Only those that are revoked, or only the others.")
    active = YesOrNo(required=False, help_text="Only those neither revoked nor expired, or only the others.")
    expires_before = Moment(required=False, help_text="Only those that expire before this time.")
    order = serializers.ChoiceField(choices=("-created", "created", "name", "-name"), default="-created")


class LimitIn(Strict):
    name = Text(max_length=63)
    amount = Whole(min_value=1)
    window = serializers.ChoiceField(choices=limits.WINDOWS)
    unit = serializers.ChoiceField(choices=limits.UNITS, default="requests")
    model = Text(max_length=63, default=EVERY_MODEL)
    burst = Whole(min_value=1, allow_null=True, default=None)

    def validate(self, attrs: dict[str, Any]) -> Any:
        limit = Limit(scope="key", **attrs)
        faults = dict(rules.out_of_range(limit))
        if faults:
            raise serializers.ValidationError(faults)
        return limit


class KeyChange(Strict):
    """What may be changed of a key: what is left out stays."""

    name = Text(max_length=200)
    models = serializers.ListField(child=Text(), allow_null=True, default=None, max_length=MOST_MODELS)
    networks = serializers.ListField(child=Text(), default=list, max_length=MOST_NETWORKS)
    methods = serializers.ListField(child=serializers.ChoiceField(choices=METHODS), default=list, max_length=20)
    limits = serializers.ListField(child=LimitIn(), default=list, max_length=MOST_LIMITS)
    expires_at = Moment(allow_null=True, default=None)
    metadata = Metadata(default=dict)


class KeyIn(KeyChange):
    """What a key is asked for with."""

    account = Text(required=False, help_text="May be left out by who has only one.")


class RotateIn(Strict):
    grace_seconds = Whole(
        min_value=0, max_value=int(LONGEST_GRACE.total_seconds()), default=86400,
        help_text="How long the old secret still works.",
    )  # fmt: skip


class LimitOut(AnySerializer):
    name = serializers.CharField()
    amount = serializers.IntegerField()
    window = serializers.CharField()
    unit = serializers.CharField()
    model = serializers.SerializerMethodField()
    burst = serializers.IntegerField(allow_null=True)

    def get_model(self, row: Any) -> str:
        return row.model.slug if row.model else EVERY_MODEL


class KeyOut(AnySerializer):
    """A key as its people see it. Reads what was fetched with it and asks for nothing more."""

    id = serializers.CharField(source="public_id")
    account = serializers.CharField(source="account.public_id")
    name = serializers.CharField()
    start = serializers.SerializerMethodField(help_text="What its text begins with, for people to recognise it by.")
    models = TextList(source="narrowed_to", allow_null=True, help_text="Narrowed to these; null: those of the plan.")
    networks = TextList(help_text="Narrowed to clients from these; empty: from everywhere.")
    methods = TextList(help_text="Narrowed to these methods; empty: all.")
    limits = LimitOut(many=True, source="limits.all", help_text="Its own, beside those of the plan.")
    expires_at = Moment(allow_null=True)
    revoked_at = Moment(allow_null=True)
    created_by = MadeBy()
    made_with = MadeWith()
    created_at = Moment()
    last_used_at = serializers.SerializerMethodField(help_text="To within some seconds.")
    metadata = Metadata()

    def get_start(self, key: ApiKey) -> str:
        return next((secret.start for secret in key.secrets.all()), "")

    @extend_schema_field({"type": ["string", "null"], "format": "date-time"})
    def get_last_used_at(self, key: ApiKey) -> Any:
        used = [secret.last_used_at for secret in key.secrets.all() if secret.last_used_at]
        return Moment().to_representation(max(used)) if used else None
