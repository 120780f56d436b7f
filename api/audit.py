"""The audit log: who did what, to what, when and from where."""

from __future__ import annotations

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account, AuditEvent
from api.base.access import Action
from api.base.addresses import EXAMPLE_ACCOUNT, EXAMPLE_KEY
from api.base.fields import Moment, Output, Text
from api.base.operations import Operation, at
from api.base.paging import PageQuery
from api.base.resource import View


class AuditQuery(PageQuery):
    account = Text(required=False, help_text="Only events of this account.")
    act = Text(required=False, max_length=40, help_text="Only acts that begin with this, such as `key.`")
    subject = Text(required=False, max_length=200, help_text="Only what was done to this public id.")
    since = Moment(required=False, help_text="Only at or after this time.")
    until = Moment(required=False, help_text="Only before this time.")
    order = serializers.ChoiceField(choices=("-created", "created"), default="-created")


class AuditOut(Output):
    example = {
        "at": "2030-11-23T06:20:00Z",
        "actor": "ada",
        "address": "203.0.113.7",
        "act": "key.issue",
        "account": EXAMPLE_ACCOUNT,
        "subject": EXAMPLE_KEY,
        "before": None,
        "after": {"name": "laptop"},
    }

    at = Moment()
    actor = serializers.CharField(help_text="A username, a credential or a command.")
    address = serializers.CharField(allow_blank=True)
    act = serializers.CharField()
    account = serializers.CharField(allow_blank=True)
    subject = serializers.CharField()
    before = serializers.DictField(allow_null=True, help_text="The previous values of what was changed.")
    after = serializers.DictField(allow_null=True)


@at("audit/", name="audit")
class Audit(View):
    @Operation(
        id="list_audit_events",
        tag="audit",
        who=(Action.READ_AUDIT,),
        query=AuditQuery,
        answer=AuditOut,
        is_list=True,
    )
    def get(self, request: Request) -> Response:
        """List what was done in your accounts, newest first. Operators see everything, including acts that belong to no
        account."""
        query = self.read_query()
        events = self._events(query.get("account"))
        if "act" in query:
            events = events.filter(act__startswith=query["act"])
        if "subject" in query:
            events = events.filter(subject=query["subject"])
        if "since" in query:
            events = events.filter(at__gte=query["since"])
        if "until" in query:
            events = events.filter(at__lt=query["until"])
        return self.page(events, query["order"])

    def _events(self, account: str | None) -> QuerySet[AuditEvent]:
        """All events that the caller may read, of one account or of all."""
        if account is not None:
            return AuditEvent.objects.filter(account=self.find_account(account).public_id)
        self.require()
        if self.caller.is_operator and self.caller.may(Action.READ_AUDIT, None):
            return AuditEvent.objects.all()
        accounts = self.allowed(Account.objects.all()).values("public_id")
        return AuditEvent.objects.filter(account__in=accounts)
