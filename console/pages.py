"""The few public pages that the gate's answers lead to; the people's console comes later."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from authsvc.gate.verdict import Verdict

# What a client's developer can do about each public code.
ADVICE = {
    "no_key": "Send the key with each request: Authorization: Bearer KEY, or X-Api-Key: KEY.",
    "invalid_token": "Check that the whole key was copied, and that it was not revoked, replaced or expired. "
    "The answer is the same for each of these on purpose.",
    "insufficient_scope": "Use a key whose plan includes the model and that is not narrowed to others; the challenge "
    "in WWW-Authenticate names the permission that is missing.",
    "not_forwarded": "This is a fault of the deployment: ForwardAuth must ask http://GATE/auth/ and send "
    "X-Forwarded-Uri, X-Forwarded-Method and X-Forwarded-For once each.",
    "unclean_path": "Send the path in its plain form: no empty, . or .. segments, and no escapes of / . \\ ; ? # %.",
    "unclean_query": "Percent-encode everything in the query that is not visible ASCII: é as %C3%A9, a space as %20.",
    "uri_too_long": "Send long input in the body. Path and query may have 8192 bytes together.",
    "unknown_model": "Check the model's name in the path, in upper and lower case. A disabled model answers the same.",
    "method_not_allowed": "Use a method that the key allows.",
    "address_not_allowed": "Call from one of the networks that the key is narrowed to.",
    "account_suspended": "Ask whoever runs this service.",
    "cost_over_burst": "A call to this model costs more than one of the limits ever has room for: ask for a larger "
    "limit.",
    "quota_exceeded": "Wait for the seconds in Retry-After. RateLimit says what is left, RateLimit-Policy the limits, "
    "violated-policies in the body those that said no.",
    "cannot_decide": "Try again after the seconds in Retry-After. It is no fault of the key.",
}


@require_safe
def error(request: HttpRequest, code: str, words_of_api: Mapping[str, tuple[HTTPStatus, str]]) -> HttpResponse:
    """The page that `type` of a problem leads to (RFC 9457, 3.1.1), the gate's or one of the REST API's."""
    if code in words_of_api:
        of_api, advice = words_of_api[code]
        context = {"code": code, "status": of_api.value, "title": of_api.phrase, "advice": advice}
        return render(request, "console/error.html", context)
    verdicts = [verdict for verdict in Verdict if verdict.code == code]
    if not code or not verdicts:
        raise Http404
    status = settings.OVER_LIMIT_STATUS if Verdict.OVER_LIMIT in verdicts else verdicts[0].status
    context = {"code": code, "status": status, "title": verdicts[0].title, "advice": ADVICE[code]}
    return render(request, "console/error.html", context)
