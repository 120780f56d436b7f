"""Making a key, and changing what it may do. The secret is in the answer to the form and nowhere else."""

from __future__ import annotations

import re
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from accounts import caps, keys
from accounts.authority import Action
from accounts.models import ApiKey
from accounts.plan_models import refuse_foreign
from accounts.refused import Refused
from accounts.services.keys import METHODS, Issued, change_key, issue_key
from console.frame import count_new_secret, count_write, forbidden, page, show
from console.keys.calls import ready_calls
from console.keys.finding import find_key
from console.keys.form import LIMIT_ROWS, SOME, KeyForm, initial_of
from console.seat import Seat
from quotas.models import ServedModel

_KEY_ID = re.compile(r"[0-9A-Za-z]{8}")


@page(Action.ISSUE_KEY)
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, seat: Seat) -> HttpResponse:
    """The form; sent, it makes the key and shows its secret, once."""
    form = KeyForm(request.POST or None, models=_models_of(seat))
    if request.method == "POST" and form.is_valid():
        count_new_secret(seat.account)
        try:
            wanted = form.wanted()
            refuse_foreign(seat.account.plan, models=wanted["models"], limits=wanted["limits"])
            issued = issue_key(seat.account, actor=seat.actor, key_id=_key_id(request), **wanted)
        except ValidationError as error:
            form.take_refusal(error)
        except Refused as error:
            return _not_issued(request, seat, form, error)
        else:
            return show_secret(request, seat, issued, is_new=True)
    context = {"key_id": id_for_a_form(), **_shown(form), "room": caps.room_for_keys(seat.account)}
    return show(request, seat, "keys/new", context, status=422 if form.errors else 200)


def id_for_a_form() -> str:
    """New for each form that is shown: sending one twice makes one key."""
    return keys.new_key_id("")[:8]


def _key_id(request: HttpRequest) -> str | None:
    found = _KEY_ID.fullmatch(request.POST.get("key_id", ""))
    return found[0] if found else None


def _not_issued(request: HttpRequest, seat: Seat, form: KeyForm, error: Refused) -> HttpResponse:
    key_id = _key_id(request)
    made = ApiKey.objects.filter(account=seat.account, public_id=f"{seat.account.public_id}{key_id}").first()
    if made is not None:
        return show(request, seat, "keys/shown_already", {"key": made}, status=409)
    form.add_error(None, str(error))
    context = {"key_id": key_id or "", **_shown(form), "room": caps.room_for_keys(seat.account)}
    return show(request, seat, "keys/new", context, status=409)


@sensitive_variables("issued", "calls")
def show_secret(request: HttpRequest, seat: Seat, issued: Issued, *, is_new: bool) -> HttpResponse:
    """The one page that has the secret. It is the answer to a POST, which no cache, log or address repeats."""
    key = issued.key
    callable_models = [model for model in _models_of(seat) if key.narrowed_to is None or model.slug in key.narrowed_to]
    calls = ready_calls(callable_models[0], issued.text, key.methods) if callable_models else []
    context = {
        "key": key,
        "secret": issued.text,
        "calls": calls,
        "is_new": is_new,
        "is_pending": issued.publication.is_pending,
        "model": callable_models[0] if callable_models else None,
    }
    response = show(request, seat, "keys/secret", context, status=201 if is_new else 200)
    response["Referrer-Policy"] = "same-origin"
    return response


@page(Action.READ_KEYS)
@require_http_methods(["GET", "HEAD", "POST"])
def change(request: HttpRequest, seat: Seat, key_id: str) -> HttpResponse:
    """Everything that may be changed of a key, on one form."""
    key = find_key(seat, key_id)
    if not seat.may_change(key) or key.revoked_at:
        return forbidden(request, seat)
    form = KeyForm(request.POST or None, models=_models_of(seat), key=key, initial=initial_of(key))
    if request.method == "POST" and form.is_valid():
        count_write(seat.account)
        try:
            wanted = form.wanted()
            refuse_foreign(seat.account.plan, models=wanted["models"], limits=wanted["limits"], key=key)
            publication = change_key(key, actor=seat.actor, **wanted)
        except ValidationError as error:
            form.take_refusal(error)
        except Refused as error:
            form.add_error(None, str(error))
        else:
            tell(request, gettext("“%(name)s” was changed.") % {"name": key.name}, is_pending=publication.is_pending)
            return redirect("console_key", seat.account.public_id, key.public_id)
    context = {"key": key, "title": ApiKey.objects.get(pk=key.pk).name, **_shown(form)}
    return show(request, seat, "keys/change", context, status=422 if form.errors else 200)


def tell(request: HttpRequest, words: str, *, is_pending: bool) -> None:
    """A notice for the next page. A change that the gate does not know yet is called one."""
    if is_pending:
        pending = gettext("It is saved, and will take effect as soon as the gate can be reached.")
        messages.warning(request, f"{words} {pending}")
    else:
        messages.success(request, words)


def _models_of(seat: Seat) -> list[ServedModel]:
    return list(seat.account.plan.included().filter(enabled=True))


def _shown(form: KeyForm) -> dict[str, Any]:
    """The form's fields as the template goes through them."""
    names = ("amount", "unit", "window")
    return {
        "form": form,
        "some": SOME,
        "all_methods": METHODS,
        "limit_rows": [{name: form[f"{name}_{row}"] for name in names} for row in range(LIMIT_ROWS)],
        "has_more": any(form[name].errors or form[name].value() for name in ("networks", "methods", "metadata"))
        or any(form[f"amount_{row}"].value() for row in range(LIMIT_ROWS)),
    }
