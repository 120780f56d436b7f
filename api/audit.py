"""The audit log: who did what, to what, when, from where."""

from __future__ import annotations

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account, AuditEvent
from api.base.access import Action, Caller, allowed_to, find_account
from api.base.fields import AnySerializer, Moment, Text
from api.base.paging import PageQuery, Pages, order_of
from api.base.resource import View, query_of


class AuditPages(Pages):
    orders = {"created": "id"}


class Audit(View):
    pagination_class = AuditPages

    def get(self, request: Request) -> Response:
        """What was done in your accounts, newest first. Operators see everything, with what has no account."""
        query = query_of(request, AuditQuery)
        events = _seen_by(self.caller, query.get("account"))
        if "act" in query:
            events = events.filter(act__startswith=query["act"])
        if "subject" in query:
            events = events.filter(subject=query["subject"])
        if "since" in query:
            events = events.filter(at__gte=query["since"])
        if "until" in query:
            events = events.filter(at__lt=query["until"])
        return self.page(events, AuditOut, order_of(query))


def _seen_by(caller: Caller, account: str | None) -> QuerySet[AuditEvent]:
    if account is not None:
        return AuditEvent.objects.filter(account=find_account(caller, Action.READ_AUDIT, account).public_id)
    caller.require(Action.READ_AUDIT)
    if caller.is_operator and caller.may(Action.READ_AUDIT, None):
        return AuditEvent.objects.all()
    accounts = allowed_to(caller, Action.READ_AUDIT, Account.objects.all()).values("public_id")
    return AuditEvent.objects.filter(account__in=accounts)


class AuditQuery(PageQuery):
    account = Text(required=False, help_text="Only this account's.")
    act = Text(required=False, max_length=40, help_text="Only acts that begin with this, such as `key.`")
    subject = Text(required=False, max_length=200, help_text="Only what was done to this: a public id.")
    since = Moment(required=False, help_text="Only from this time on.")
    until = Moment(required=False, help_text="Only before this time.")
    order = serializers.ChoiceField(choices=("-created", "created"), default="-created")


class AuditOut(AnySerializer):
    at = Moment()
    actor = serializers.CharField(help_text="A user's name, a credential or a command.")
    address = serializers.CharField(allow_blank=True)
    act = serializers.CharField()
    account = serializers.CharField(allow_blank=True)
    subject = serializers.CharField()
    before = serializers.DictField(allow_null=True, help_text="What was there, as far as it was changed.")
    after = serializers.DictField(allow_null=True)
