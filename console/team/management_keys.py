"""Management keys: what programs of the account use for the REST API, who made them, and making and revoking one."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from accounts import keys
from accounts.authority import Action, check_scopes, scopes_to_give
from accounts.models import Account, ManagementKey
from accounts.refused import Refused
from accounts.services.credentials import make_management_key, revoke_credential
from console.frame import count_new_secret, count_write, page, show
from console.keys.state import ACTIVE, EXPIRED, EXPIRES_SOON, EXPIRING, KeyState
from console.seat import Seat

MOST_SHOWN = 100
NEVER = "never"
PRESETS = {
    NEVER: gettext_lazy("Never"),
    "30": gettext_lazy("30 days"),
    "90": gettext_lazy("90 days"),
    "365": gettext_lazy("A year"),
}
SCOPES = {
    "keys:read": gettext_lazy("See keys"),
    "keys:write": gettext_lazy("Create, change, rotate and revoke keys"),
    "usage:read": gettext_lazy("Read usage and limits"),
    "members:write": gettext_lazy("Invite, change and remove members and viewers"),
}
_KEY_ID = re.compile(r"[0-9A-Za-z]{8}")


class NewManagementKey(forms.Form):
    name = forms.CharField(max_length=200)
    scopes = forms.MultipleChoiceField(error_messages={"required": gettext_lazy("Choose at least one.")})
    expiry = forms.ChoiceField(choices=list(PRESETS.items()), initial="90")

    def __init__(self, *args: Any, scopes: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["scopes"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(scope, SCOPES[scope]) for scope in scopes]

    def expires_at(self) -> datetime | None:
        chosen = self.cleaned_data["expiry"]
        return None if chosen == NEVER else timezone.now() + timedelta(days=int(chosen))


def shown_on_team(seat: Seat) -> dict[str, Any]:
    """What the team's page tells of them, for people who may see them."""
    if not seat.may(Action.READ_MANAGEMENT_KEYS):
        return {"may_see_management_keys": False}
    now, rows = timezone.now(), not_revoked(seat.account)[: MOST_SHOWN + 1]
    return {
        "may_see_management_keys": True,
        "management_keys": [_shown(row, now) for row in rows[:MOST_SHOWN]],
        "management_keys_more": len(rows) > MOST_SHOWN,
        "may_make_management_keys": seat.may(Action.WRITE_MANAGEMENT_KEYS) and not seat.account.closed_at,
    }


def not_revoked(account: Account) -> QuerySet[ManagementKey]:
    return ManagementKey.objects.filter(account=account, revoked_at=None).select_related("created_by")


def _shown(row: ManagementKey, now: datetime) -> dict[str, Any]:
    return {"row": row, "scopes": [SCOPES.get(scope, scope) for scope in row.scopes], "state": _state_of(row, now)}


def _state_of(row: ManagementKey, now: datetime) -> KeyState:
    if not row.is_in_force(now):
        return EXPIRED
    return EXPIRING if row.expires_at and row.expires_at <= now + EXPIRES_SOON else ACTIVE


@page(Action.WRITE_MANAGEMENT_KEYS)
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, seat: Seat) -> HttpResponse:
    """The form; sent, it makes the management key and shows its secret, once."""
    form = NewManagementKey(request.POST or None, scopes=scopes_to_give(seat.authority))
    status = 200
    if request.method == "POST" and form.is_valid():
        count_new_secret(seat.account)
        try:
            return _make(request, seat, form)
        except ValidationError as error:
            _take_refusal(form, error)
        except Refused as error:
            form.add_error(None, str(error))
            status = 409
    if form.errors and status == 200:
        status = 422
    found = _KEY_ID.fullmatch(request.POST.get("key_id", "")) if status == 422 else None
    context = {"form": form, "key_id": found[0] if found else keys.new_key_id("")[:8]}
    return show(request, seat, "team/new_management_key", context, status=status)


@sensitive_variables("text")
def _make(request: HttpRequest, seat: Seat, form: NewManagementKey) -> HttpResponse:
    key_id = _KEY_ID.fullmatch(request.POST.get("key_id", ""))
    row, text = make_management_key(
        seat.account,
        name=form.cleaned_data["name"],
        scopes=form.cleaned_data["scopes"],
        expires_at=form.expires_at(),
        actor=seat.actor,
        key_id=key_id[0] if key_id else None,
    )
    context = {"key": row, "secret": text, "call": _call(text)}
    response = show(request, seat, "team/management_secret", context, status=201)
    response["Referrer-Policy"] = "same-origin"
    return response


def _call(text: str) -> str:
    return f"curl {settings.CONSOLE_URL}/api/v1/me/ \\\n  -H 'Authorization: Bearer {text}'"


def _take_refusal(form: NewManagementKey, error: ValidationError) -> None:
    fields = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    for field, texts in fields.items():
        for text in texts:
            form.add_error(field if field in form.fields else None, text)


@page(Action.WRITE_MANAGEMENT_KEYS)
@require_POST
def revoke(request: HttpRequest, seat: Seat, management_key_id: str) -> HttpResponse:
    row = ManagementKey.objects.filter(account=seat.account, public_id=management_key_id).first()
    if row is None:
        raise Http404
    try:
        check_scopes(seat.actor, seat.account, row.scopes, verb="revoke")
        count_write(seat.account)
        revoke_credential(row, actor=seat.actor)
    except Refused as error:
        messages.error(request, str(error))
    else:
        said = gettext("The management key “%(name)s” is revoked: its next request is refused.")
        messages.success(request, said % {"name": row.name})
    return redirect("console_team", seat.account.public_id)
