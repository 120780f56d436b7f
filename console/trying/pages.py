"""Try it: call a model from the page. The browser calls the gateway itself; a pasted key never comes here."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from csp.decorators import csp_update
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST, require_safe

from accounts.authority import Action
from accounts.refused import Refused
from accounts.services.keys import Issued, issue_key
from console.frame import count_new_secret, forbidden, page, show
from console.keys.calls import call_of, ready_calls
from console.keys.issuing import id_for_a_form
from console.seat import Seat
from console.trying.words import words_of_the_page
from quotas.examples import METHODS, as_text
from quotas.models import ServedModel

KEY_WORKS = timedelta(hours=1)
_KEY_ID = re.compile(r"[0-9A-Za-z]{8}")


def gateway_source(url: str) -> str:
    """The source for connect-src that allows the gateway's address and nothing else."""
    parts = urlsplit(url)
    return f"{url}/" if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}"


_may_call_the_gateway = csp_update({"connect-src": [gateway_source(settings.GATEWAY_URL)]})


@_may_call_the_gateway
@page(Action.READ_CATALOGUE)
@require_safe
def try_it(request: HttpRequest, seat: Seat) -> HttpResponse:
    return show(request, seat, "try/try", _context(seat, request.GET.get("model", "")))


@_may_call_the_gateway
@page(Action.READ_CATALOGUE)
@require_POST
@sensitive_variables("issued")
def make_key(request: HttpRequest, seat: Seat) -> HttpResponse:
    """A key for an hour and one model. Its secret is in this answer only, for the page's own field."""
    if not seat.may(Action.ISSUE_KEY):
        return forbidden(request, seat)
    slug, key_id = request.POST.get("model", ""), request.POST.get("key_id", "")
    model = next((one for one in _models(seat) if one.slug == slug), None)
    fault, issued = "", None
    if model is None or not _KEY_ID.fullmatch(key_id):
        fault = gettext("This form is incomplete. Reload the page and try again.")
    else:
        count_new_secret(seat.account)
        try:
            issued = _issue(seat, model, key_id)
        except (Refused, ValidationError) as error:
            fault = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
    context = {**_context(seat, slug, issued), "fault": fault}
    response = show(request, seat, "try/try", context, status=201 if issued else 409)
    response["Referrer-Policy"] = "same-origin"
    return response


def _issue(seat: Seat, model: ServedModel, key_id: str) -> Issued:
    now = timezone.now()
    name = gettext("Try it: %(model)s, %(time)s") % {"model": model.slug, "time": f"{now:%Y-%m-%d %H:%M} UTC"}
    return issue_key(
        seat.account,
        name=name,
        actor=seat.actor,
        key_id=key_id,
        models=[model.slug],
        expires_at=(now + KEY_WORKS).replace(microsecond=0),
    )


def _models(seat: Seat) -> list[ServedModel]:
    return list(seat.account.plan.included().filter(enabled=True))


@sensitive_variables("issued")
def _context(seat: Seat, slug: str, issued: Issued | None = None) -> dict[str, Any]:
    models = _models(seat)
    chosen = next((one for one in models if one.slug == slug), models[0] if models else None)
    context: dict[str, Any] = {
        "models": models,
        "chosen": chosen,
        "methods": METHODS,
        "issued": issued,
        "may_issue": seat.may(Action.ISSUE_KEY) and not seat.account.closed_at,
        "key_id": id_for_a_form(),
        "words": words_of_the_page(),
        "errors_url": settings.ERRORS_URL,
    }
    if chosen is not None:
        call = call_of(chosen)
        base = f"{settings.GATEWAY_URL}{chosen.path}"
        context |= {
            "base": base,
            "method": call.method,
            "path": call.url.removeprefix(base),
            "body": "" if call.body is None else as_text(call.body),
            "calls": ready_calls(chosen, issued.text) if issued else ready_calls(chosen),
        }
    return context
