"""`Decision` → status, headers, body: the only file of the gate that knows status codes and headers."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from http import HTTPStatus
from typing import NamedTuple

from django.conf import settings

from authsvc.gate.decision import Decision
from authsvc.gate.forwarded import REQUEST_ID_LENGTH
from authsvc.gate.grounds import Grounds
from authsvc.gate.rendering import Headers, Rendered, auth_headers, render
from authsvc.gate.verdict import ALLOWED, MODEL_NOT_ALLOWED, OVER_LIMIT, Verdict
from quotas.buckets import clock

_REALM = b'Bearer realm="%b"' % str(settings.REALM).replace("\\", "").replace('"', "").encode("ascii", "ignore")
_ERRORS_URL = str(settings.ERRORS_URL)
_OVER_LIMIT_STATUS = int(settings.OVER_LIMIT_STATUS)
_RETRY_SOON = 1  # seconds, for a gate that cannot decide


# Written in place of an answer after an error that nobody expected; a proxy lets nothing pass with it.
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n", b""


class Answer(NamedTuple):
    status: int
    headers: Headers
    body: bytes


def answer(decision: Decision, request_id: bytes) -> Answer:
    """What Traefik gets: the headers of a 200 go to the model, all of a refusal goes to the client."""
    grounds = decision.grounds
    if decision.verdict is Verdict.ALLOWED and grounds is not None:
        meters = decision.tally.meters if decision.tally is not None else ()  # none while Redis is away
        # Traefik replaces the client's header with ours, which takes the key off the list on its way to the model.
        offered = [(b"sec-websocket-protocol", decision.protocols)] if decision.protocols else []
        constant = auth_headers(grounds.charge, grounds.known.account.plan)
        return Answer(200, [*constant, (b"x-auth-request-id", request_id), *rate_limit(grounds, meters), *offered], b"")
    if decision.verdict is Verdict.OVER_LIMIT:
        return _over_limit(decision, request_id)
    return _refused(decision.verdict, decision.model, request_id)


def written(decision: Decision, request_id: bytes) -> tuple[bytes, bytes]:
    """The same answer as it is written: the head, without its last empty line, and the body."""
    verdict = decision.verdict
    if verdict is ALLOWED:
        if decision.tally is not None and not decision.protocols:
            assert decision.grounds is not None
            return head(decision.grounds, decision.tally.meters, request_id), b""
    elif verdict is not OVER_LIMIT:
        head_format, body_format = _refusal_format(verdict, decision.model if verdict is MODEL_NOT_ALLOWED else "")
        return head_format % request_id, body_format % request_id
    return _as_written(answer(decision, request_id))


def _as_written(answer: Answer) -> tuple[bytes, bytes]:
    lines = (b"%b: %b\r\n" % header for header in answer.headers)
    return b"".join((_status_line(answer.status), *lines)), answer.body


@cache
def _status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())


def head(grounds: Grounds, meters: tuple[int, ...], request_id: bytes) -> bytes:
    """The head of an allowed answer, without its last empty line."""
    rendered = grounds.rendered
    if rendered is None or rendered.hour != clock.hour():
        rendered = _rendered(grounds)
    return rendered.head % (request_id, *meters)


def rate_limit(grounds: Grounds, meters: tuple[int, ...]) -> Headers:
    """RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10); none without meters."""
    if not meters:
        return []
    rendered = _rendered(grounds)
    return [(b"ratelimit", rendered.meters % meters), (b"ratelimit-policy", rendered.policy)]


def _rendered(grounds: Grounds) -> Rendered:
    hour = clock.hour()
    rendered = grounds.rendered
    if rendered is None or rendered.hour != hour:
        rendered = grounds.rendered = render(grounds.charge, grounds.known.account.plan, hour)
    return rendered


def _refused(verdict: Verdict, model: str, request_id: bytes) -> Answer:
    """A refusal that says the same to everybody, whatever the key."""
    headers: Headers = []
    if verdict.status == 401:
        headers.append((b"www-authenticate", _challenge(verdict)))
    elif verdict is Verdict.MODEL_NOT_ALLOWED:
        scope = b', error="insufficient_scope", scope="model:%b"' % model.encode()
        headers.append((b"www-authenticate", _REALM + scope))
    elif verdict is Verdict.CANNOT_DECIDE:
        headers.append((b"retry-after", b"%d" % _RETRY_SOON))
    return _problem(verdict, verdict.status, headers, request_id)


def _over_limit(decision: Decision, request_id: bytes) -> Answer:
    grounds, tally = decision.grounds, decision.tally
    assert grounds is not None and tally is not None
    violated = [grounds.charge.shown[place] for place in tally.violated]
    headers = [(b"retry-after", b"%d" % max(tally.wait, 1)), *rate_limit(grounds, tally.meters)]
    if any(not limit.is_smoothed for limit in violated):
        headers.append((b"x-should-retry", b"false"))  # read by the SDKs of OpenAI and Anthropic
    names = {"violated-policies": [limit.name for limit in violated]}
    return _problem(decision.verdict, _OVER_LIMIT_STATUS, headers, request_id, names)


def _problem(
    verdict: Verdict, status: int, headers: Headers, request_id: bytes, more: dict[str, list[str]] | None = None
) -> Answer:
    """Problem details (RFC 9457)."""
    problem = {
        "type": f"{_ERRORS_URL}{verdict.code}",
        "title": verdict.title,
        "status": status,
        "detail": verdict.detail,
        "request_id": request_id.decode(),
        **(more or {}),
    }
    body = json.dumps(problem, separators=(",", ":")).encode()
    common = [
        (b"content-type", b"application/problem+json"),
        (b"cache-control", b"no-store"),
        (b"x-request-id", request_id),
    ]
    return Answer(status, [*common, *headers, (b"content-length", b"%d" % len(body))], body)


@lru_cache(1024)
def _refusal_format(verdict: Verdict, model: str) -> tuple[bytes, bytes]:
    """The same as it is written, head and body, each with a place for the request's id: strangers cause most refusals,
    and none of them should cost more than an allowed call."""
    placeholder = b"?" * REQUEST_ID_LENGTH
    head, body = (
        part.replace(b"%", b"%%").replace(placeholder, b"%b")
        for part in _as_written(_refused(verdict, model, placeholder))
    )
    return head, body


def _challenge(verdict: Verdict) -> bytes:
    """RFC 6750, 3: without a key the bare challenge, with a bad one the error."""
    if verdict is Verdict.NO_KEY:
        return _REALM
    return b'%b, error="invalid_token", error_description="%b"' % (_REALM, verdict.detail.encode())
