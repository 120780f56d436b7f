"""Keys for models: listed, issued, changed, rotated, paused and revoked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, get_args

from django.conf import settings
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.caps import MOST_LIMITS, MOST_MODELS, MOST_NETWORKS
from accounts.models import Account, ApiKey, KeyQuerySet, StateOfKey
from accounts.plan_models import refuse_foreign
from accounts.services.keys import (
    LONGEST_GRACE,
    METHODS,
    Issued,
    change_key,
    end_rotation,
    issue_key,
    pause_key,
    resume_key,
    revoke_key,
    rotate_key,
)
from api.base.access import Action, Caller
from api.base.addresses import EXAMPLE_ACCOUNT, EXAMPLE_KEY
from api.base.fields import Input, MadeBy, MadeWith, Metadata, Moment, Output, Text, TextList, Whole, YesOrNo
from api.base.idempotency import Made, once
from api.base.operations import Operation, at
from api.base.paging import PageQuery
from api.base.resource import View, answer, count_new_secret, count_write
from quotas import limits, rules
from quotas.limits import EVERY_MODEL, Limit

_LIMIT = {"name": "burst", "amount": 20, "window": "minute", "unit": "requests", "model": "*", "burst": 5}
_NARROWED = {
    "name": "laptop",
    "models": ["en_core_web_sm"],
    "networks": ["203.0.113.0/24"],
    "methods": ["POST"],
    "limits": [_LIMIT],
    "expires_at": "2031-01-31T12:00:00Z",
    "metadata": {"team": "nlp"},
}


class KeyQuery(PageQuery):
    orders = {"created": "id", "name": "name"}

    account = Text(required=False, help_text="Only keys of this account.")
    name = Text(required=False, max_length=200, help_text="Only keys whose name contains this.")
    revoked = YesOrNo(required=False, help_text="Only keys that are revoked, or only those that are not.")
    status = serializers.ChoiceField(
        choices=get_args(StateOfKey), required=False, help_text="Only keys with this status."
    )
    active = YesOrNo(required=False, help_text="Only active keys, or only paused, expired and revoked ones.")
    expires_before = Moment(required=False, help_text="Only keys that expire before this time.")
    order = serializers.ChoiceField(choices=("-created", "created", "name", "-name"), default="-created")


class LimitIn(Input):
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


class KeyChange(Input):
    """Changes to a key. Fields that are left out stay unchanged."""

    example = {"name": "laptop of Ada", "methods": ["GET", "POST"]}

    name = Text(max_length=200)
    models = serializers.ListField(child=Text(), allow_null=True, default=None, max_length=MOST_MODELS)
    networks = serializers.ListField(child=Text(), default=list, max_length=MOST_NETWORKS)
    methods = serializers.ListField(child=serializers.ChoiceField(choices=METHODS), default=list, max_length=20)
    limits = serializers.ListField(child=LimitIn(), default=list, max_length=MOST_LIMITS)
    expires_at = Moment(allow_null=True, default=None)
    metadata = Metadata(default=dict)


class KeyIn(KeyChange):
    """A key to issue."""

    example = _NARROWED

    account = Text(required=False, help_text="May be left out if you have only one.")


class RotateIn(Input):
    example = {"grace_seconds": 3600}

    grace_seconds = Whole(
        min_value=0,
        max_value=int(LONGEST_GRACE.total_seconds()),
        default=86400,
        help_text="How long the old secret keeps working.",
    )


class LimitOut(Output):
    name = serializers.CharField()
    amount = serializers.IntegerField()
    window = serializers.CharField()
    unit = serializers.CharField()
    model = serializers.SerializerMethodField()
    burst = serializers.IntegerField(allow_null=True)

    def get_model(self, row: Any) -> str:
        return row.model.slug if row.model else EVERY_MODEL


class SecretOut(Output):
    """A secret of a key, without its text."""

    example = {
        "start": f"ask_{EXAMPLE_KEY}",
        "created_at": "2030-11-23T06:20:00Z",
        "expires_at": None,
        "last_used_at": "2030-11-23T06:25:00Z",
        "last_used_from": "203.0.113.7",
    }

    start = serializers.CharField(help_text="The beginning of its text.")
    created_at = Moment()
    expires_at = Moment(allow_null=True, help_text="When it ends after a rotation.")
    last_used_at = Moment(allow_null=True, help_text="Accurate to within a few seconds.")
    last_used_from = serializers.IPAddressField(
        allow_null=True, help_text="The client's address at its last use. Forgotten when the account is closed."
    )


class KeyOut(Output):
    """A key without its secrets. Shows what `keys_shown` fetches, without queries of its own."""

    example = {
        "id": EXAMPLE_KEY,
        "account": EXAMPLE_ACCOUNT,
        "start": f"ask_{EXAMPLE_KEY}",
        **_NARROWED,
        "status": "active",
        "paused_at": None,
        "revoked_at": None,
        "created_by": "ada",
        "made_with": None,
        "created_at": "2030-11-23T06:20:00Z",
        "last_used_at": "2030-11-23T06:25:00Z",
        "secrets": [SecretOut.example],
    }

    id = serializers.CharField(source="public_id")
    account = serializers.CharField(source="account.public_id")
    name = serializers.CharField()
    start = serializers.SerializerMethodField(help_text="The beginning of its text, for people to recognise it by.")
    models = TextList(source="narrowed_to", allow_null=True, help_text="Narrowed to these. Null: the plan's models.")
    networks = TextList(help_text="Narrowed to clients in these networks. Empty: anywhere.")
    methods = TextList(help_text="Narrowed to these methods. Empty: all methods.")
    limits = LimitOut(many=True, source="limits.all", help_text="Its own, in addition to those of the plan.")
    status = serializers.ChoiceField(
        source="state",
        choices=get_args(StateOfKey),
        help_text="Only an active key works. Of a key that is more than one of the others, the last of them.",
    )
    expires_at = Moment(allow_null=True)
    paused_at = Moment(allow_null=True)
    revoked_at = Moment(allow_null=True)
    created_by = MadeBy()
    made_with = MadeWith()
    created_at = Moment()
    last_used_at = serializers.SerializerMethodField(help_text="Accurate to within a few seconds.")
    secrets = SecretOut(
        many=True, source="secrets.all", help_text="Newest first: after a rotation, also those that ended lately."
    )
    metadata = Metadata()

    def get_start(self, key: ApiKey) -> str:
        return next((secret.start for secret in key.secrets.all()), "")

    @extend_schema_field({"type": ["string", "null"], "format": "date-time"})
    def get_last_used_at(self, key: ApiKey) -> Any:
        used = [secret.last_used_at for secret in key.secrets.all() if secret.last_used_at]
        return Moment().to_representation(max(used)) if used else None


class IssuedKey(KeyOut):
    """A key with its text, which only this answer contains."""

    example = {**KeyOut.example, "key": f"ask_{EXAMPLE_KEY}_…"}

    key = serializers.CharField(help_text="The key's text. Store it now: no other answer contains it.")


_FOLLOWED_BY = dict.fromkeys(
    ("get_key", "change_key", "rotate_key", "end_rotation", "pause_key", "resume_key", "revoke_key"), "id"
)


@at("keys/", name="keys")
class KeyList(View):
    @Operation(id="list_keys", tag="keys", who=(Action.READ_KEYS,), query=KeyQuery, answer=KeyOut, is_list=True)
    def get(self, request: Request) -> Response:
        """List the keys of all accounts that you can see, newest first."""
        query = self.read_query()
        if account := query.get("account"):
            rows = keys_shown().filter(account=self.find_account(account))
        else:
            rows = self.allowed(keys_shown(), "account__")
        return self.page(_filtered(rows, query), query["order"])

    @Operation(
        id="issue_key",
        tag="keys",
        who=(Action.ISSUE_KEY,),
        body=KeyIn,
        status=201,
        answer=IssuedKey,
        once=True,
        may_be_pending=True,
        may_conflict=True,
        links=_FOLLOWED_BY,
    )
    def post(self, request: Request) -> Response:
        """Issue a key. Its text is in this answer only and can never be read again."""
        caller = self.caller
        self.require()
        wanted = self.read_body()
        account = self.find_own_account(wanted.pop("account", None))

        def make(secret: str | None) -> Made:
            count_new_secret(caller, account)
            _refuse_foreign(caller, account, wanted)
            return _made(201, issue_key(account, actor=caller.actor, secret=secret, **wanted))

        return once(request, caller, settings.KEY_PREFIX, make)


@at("keys/<public_id:id>/", name="key")
class OneKey(View):
    @Operation(id="get_key", tag="keys", who=(Action.READ_KEYS,), answer=KeyOut)
    def get(self, request: Request, id: str) -> Response:
        """Get a key."""
        return self.show(self.find(keys_shown(), "account__", public_id=id))

    @Operation(
        id="change_key",
        tag="keys",
        who=(Action.CHANGE_KEY,),
        body=KeyChange,
        is_partial=True,
        answer=KeyOut,
        may_be_pending=True,
        may_conflict=True,
    )
    def patch(self, request: Request, id: str) -> Response:
        """Change a key. Fields that are left out stay unchanged. `limits` replaces the whole list."""
        key = find_key(self, id)
        changes = self.read_body()
        count_write(self.caller, key.account)
        _refuse_foreign(self.caller, key.account, changes, key)
        publication = change_key(key, actor=self.caller.actor, **changes)
        return answer(publication, 200, shown(key))

    @Operation(
        id="revoke_key", tag="keys", who=(Action.CHANGE_KEY,), status=204, may_be_pending=True, may_conflict=True
    )
    def delete(self, request: Request, id: str) -> Response:
        """Revoke a key. After a 204 its next request is refused."""
        key = find_key(self, id)
        count_write(self.caller, key.account)
        return answer(revoke_key(key, actor=self.caller.actor), 204, {"id": key.public_id})


@at("keys/<public_id:id>/rotate/", name="key-rotate")
class Rotate(View):
    @Operation(
        id="rotate_key",
        tag="keys",
        who=(Action.CHANGE_KEY,),
        body=RotateIn,
        answer=IssuedKey,
        once=True,
        may_be_pending=True,
        may_conflict=True,
        links=_FOLLOWED_BY,
    )
    def post(self, request: Request, id: str) -> Response:
        """Give a key a new secret. The old secret works until the grace is over; any older ones end now."""
        caller = self.caller
        key = find_key(self, id)
        grace = timedelta(seconds=self.read_body()["grace_seconds"])

        def make(secret: str | None) -> Made:
            count_new_secret(caller, key.account)
            return _made(200, rotate_key(key, grace=grace, actor=caller.actor, secret=secret))

        return once(request, caller, settings.KEY_PREFIX, make)


@at("keys/<public_id:id>/end-rotation/", name="key-end-rotation")
class EndRotation(View):
    @Operation(
        id="end_rotation",
        tag="keys",
        who=(Action.CHANGE_KEY,),
        answer=KeyOut,
        may_be_pending=True,
        may_conflict=True,
    )
    def post(self, request: Request, id: str) -> Response:
        """End the grace of old secrets now. Their next request is refused."""
        key = find_key(self, id)
        count_write(self.caller, key.account)
        publication = end_rotation(key, actor=self.caller.actor)
        return answer(publication, 200, shown(key))


@at("keys/<public_id:id>/pause/", name="key-pause")
class Pause(View):
    @Operation(
        id="pause_key", tag="keys", who=(Action.CHANGE_KEY,), answer=KeyOut, may_be_pending=True, may_conflict=True
    )
    def post(self, request: Request, id: str) -> Response:
        """Pause a key. After a 200 its next request is refused, until you resume it; it keeps its secrets, limits and
        usage, and still counts towards the number of keys. Pausing it again changes nothing."""
        key = find_key(self, id)
        count_write(self.caller, key.account)
        publication = pause_key(key, actor=self.caller.actor)
        return answer(publication, 200, shown(key))


@at("keys/<public_id:id>/resume/", name="key-resume")
class Resume(View):
    @Operation(
        id="resume_key", tag="keys", who=(Action.CHANGE_KEY,), answer=KeyOut, may_be_pending=True, may_conflict=True
    )
    def post(self, request: Request, id: str) -> Response:
        """Resume a paused key. After a 200 its next request is decided as before the pause. Resuming it again changes
        nothing."""
        key = find_key(self, id)
        count_write(self.caller, key.account)
        publication = resume_key(key, actor=self.caller.actor)
        return answer(publication, 200, shown(key))


def keys_shown() -> QuerySet[ApiKey]:
    """Keys with everything that KeyOut shows, in a fixed number of queries."""
    return ApiKey.objects.select_related("account", "created_by").prefetch_related("secrets", "limits__model")


def shown(key: ApiKey) -> dict[str, Any]:
    return dict(KeyOut(keys_shown().get(pk=key.pk)).data)


def find_key(view: View, id: str) -> ApiKey:
    """The key, if the caller may do with it what they ask for."""
    return view.find(ApiKey.objects.select_related("account__plan"), "account__", public_id=id)


def _made(status: int, issued: Issued) -> Made:
    id = issued.key.public_id
    return Made(status, shown(issued.key), id[: len(id) // 2], issued.publication, id, issued.text)


def _refuse_foreign(caller: Caller, account: Account, wanted: dict[str, Any], key: ApiKey | None = None) -> None:
    """An operator may narrow a key to a model that the plan does not include yet. Others must not learn of it."""
    if not caller.is_operator:
        models, limits = wanted.get("models"), wanted.get("limits") or ()
        refuse_foreign(account.plan, models=models, limits=limits, key=key)


def _filtered(rows: QuerySet[ApiKey], query: dict[str, Any]) -> QuerySet[ApiKey]:
    if "name" in query:
        rows = rows.filter(name__icontains=query["name"])
    if "revoked" in query:
        rows = rows.filter(revoked_at__isnull=not query["revoked"])
    if "expires_before" in query:
        rows = rows.filter(expires_at__lt=query["expires_before"])
    assert isinstance(rows, KeyQuerySet)
    if "status" in query:
        rows = rows.in_state(query["status"])
    if "active" in query:
        rows = rows.active() if query["active"] else rows.inactive()
    return rows
