"""The public pages that problem documents link to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from authsvc.gate.specimen import specimen
from authsvc.gate.verdict import Verdict
from console.meanings import MEANINGS, MEANINGS_OF_API
from console.problem_titles import title_in_words

# How a client's developer can fix each public code.
ADVICE = {
    "no_key": gettext_lazy("Send the key with each request: Authorization: Bearer KEY, or X-Api-Key: KEY."),
    "invalid_token": gettext_lazy(
        "Check that the whole key was copied, and that it has not expired or been paused, revoked or replaced. "
        "The answer is deliberately the same in each case."
    ),
    "insufficient_scope": gettext_lazy(
        "Use a key whose plan includes the model and that is not narrowed to other models. The "
        "challenge in WWW-Authenticate names the missing permission."
    ),
    "not_forwarded": gettext_lazy(
        "This is a deployment error: ForwardAuth must call http://GATE/auth/ and send "
        "X-Forwarded-Uri, X-Forwarded-Method and X-Forwarded-For exactly once each."
    ),
    "unclean_path": gettext_lazy(
        "Send a plain path: no empty, . or .. segments, and none of / . \\ ; ? # % percent-encoded."
    ),
    "unclean_query": gettext_lazy(
        "Percent-encode everything in the query that is not visible ASCII: é as %C3%A9, a space as %20."
    ),
    "uri_too_long": gettext_lazy("Send long input in the body. Path and query together are limited to 8192 bytes."),
    "unknown_model": gettext_lazy(
        "Check the model's name in the path; it is case-sensitive. A disabled model gets the same answer."
    ),
    "method_not_allowed": gettext_lazy("Use a method that the key allows."),
    "address_not_allowed": gettext_lazy("Call from one of the networks that the key is restricted to."),
    "account_suspended": gettext_lazy("Contact the operator of this service."),
    "cost_over_burst": gettext_lazy(
        "A call to this model costs more than one of the limits can ever allow. Ask for a larger limit."
    ),
    "quota_exceeded": gettext_lazy(
        "Wait the number of seconds in Retry-After. RateLimit shows what is left, RateLimit-Policy lists "
        "the limits, and violated-policies in the body names those that were exceeded."
    ),
    "cannot_decide": gettext_lazy("Try again after the number of seconds in Retry-After. The key is not at fault."),
}


class ErrorShown(NamedTuple):
    """What the page says of a code."""

    code: str
    status: int
    title: str
    meaning: Any  # translatable text
    advice: Any
    is_of_gate: bool


@require_safe
def error(
    request: HttpRequest,
    code: str,
    words_of_api: Mapping[str, tuple[HTTPStatus, str]],
    sample_of: Callable[[str], tuple[dict[str, str], dict[str, Any]]],
) -> HttpResponse:
    """The page that a problem's `type` links to (RFC 9457, 3.1.1), for problems of the gate and of the REST API."""
    if code in words_of_api:
        status, advice = words_of_api[code]
        headers, body = sample_of(code)
        example = _written(body["status"], body["title"], headers, body)
        shown = ErrorShown(
            code, status.value, title_in_words(body["title"]), MEANINGS_OF_API[code], advice, is_of_gate=False
        )
        return render(request, "console/error.html", {"error": shown, "examples": [example]})
    verdicts = [verdict for verdict in Verdict if verdict.code == code]
    if not code or not verdicts:
        raise Http404
    first = specimen(verdicts[0])
    shown = ErrorShown(
        code, first.status, title_in_words(verdicts[0].title), MEANINGS[code], ADVICE[code], is_of_gate=True
    )
    return render(request, "console/error.html", {"error": shown, "examples": _examples(verdicts)})


def _examples(verdicts: list[Verdict]) -> list[str]:
    """The gate's answers with this code, each once: several verdicts share their words on purpose."""
    written = []
    for verdict in verdicts:
        status, headers, body = specimen(verdict)
        text = {name.decode().title(): value.decode() for name, value in headers if name != b"content-length"}
        written.append(_written(status, HTTPStatus(status).phrase, text, json.loads(body)))
    return list(dict.fromkeys(written))


def _written(status: int, phrase: str, headers: Mapping[str, str], body: Any) -> str:
    """As `curl -i` prints it, with the body laid out."""
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\n".join([*lines, "", json.dumps(body, indent=2, ensure_ascii=False)])
