"""`Decision` → status, headers, body: the only file of the gate that knows status codes and headers."""

from __future__ import annotations

import json
from typing import NamedTuple

from django.conf import settings

from accounts.facts.known import Terms
from authsvc.gate.verdict import Decision, Verdict
from quotas.buckets import clock
from quotas.limits import SECOND, SMOOTHED, Limit, calendar_window

Headers = list[tuple[bytes, bytes]]

_REALM = b'Bearer realm="%b"' % str(settings.REALM).replace("\\", "").replace('"', "").encode("ascii", "ignore")
_ERRORS_URL = str(settings.ERRORS_URL)
_OVER_LIMIT_STATUS = int(settings.OVER_LIMIT_STATUS)
_RETRY_SOON = 1  # seconds, for a gate that cannot decide


class Answer(NamedTuple):
    status: int
    headers: Headers
    body: bytes


def answer(decision: Decision, request_id: bytes) -> Answer:
    """What Traefik gets: of a 200 the headers go to the model, of a refusal everything goes to the client."""
    terms = decision.terms
    if decision.verdict is Verdict.ALLOWED and terms is not None:
        meters = decision.tally.meters if decision.tally is not None else ()  # none while Redis is away
        headers = terms.auth_headers
        if headers is None:
            headers = terms.auth_headers = _auth_headers(terms)
        # Traefik replaces the client's header by ours, which is how the key leaves the list on its way to the model.
        offered = [(b"sec-websocket-protocol", decision.protocols)] if decision.protocols else []
        return Answer(200, [*headers, (b"x-auth-request-id", request_id), *rate_limit(terms, meters), *offered], b"")
    return _refusal(decision, request_id)


def head(terms: Terms, meters: tuple[int, ...], request_id: bytes) -> bytes:
    """An allowed answer as bytes, without its last empty line: all but some numbers is ready since the last hour."""
    hour = clock.hour()
    if terms.head_hour != hour:
        rate_limit(terms, meters)
        constant = b"".join(b"%b: %b\r\n" % header for header in terms.auth_headers or _auth_headers(terms))
        limits = b"ratelimit: %b\r\nratelimit-policy: %b\r\n" % (terms.meters_format, terms.policy)
        terms.head = b"HTTP/1.1 200 OK\r\n" + constant + b"x-auth-request-id: %b\r\n" + (limits if meters else b"")
        terms.head_hour = hour
    return terms.head % (request_id, *meters)


def _auth_headers(terms: Terms) -> Headers:
    key = terms.charge.key_id
    return [
        (b"content-length", b"0"),
        (b"x-auth-account", key[:8].encode()),
        (b"x-auth-key", key.encode()),
        (b"x-auth-plan", terms.plan.encode()),
        (b"x-auth-model", terms.charge.model.encode()),
    ]


def rate_limit(terms: Terms, meters: tuple[int, ...]) -> Headers:
    """RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10)."""
    hour = clock.hour()
    if terms.policy_hour != hour:
        limits = terms.charge.shown
        terms.policy = b", ".join(_policy(limit, hour) for limit in limits)
        terms.meters_format = b", ".join(b'"%b";r=%%d;t=%%d' % limit.name.encode() for limit in limits)
        terms.policy_hour = hour
    if not meters:
        return []
    return [(b"ratelimit", terms.meters_format % meters), (b"ratelimit-policy", terms.policy)]


def _policy(limit: Limit, hour: int) -> bytes:
    if limit.is_smoothed:
        seconds = SMOOTHED[limit.window] // SECOND
    else:
        window = calendar_window(limit.window, hour)
        seconds = window.end - window.start
    return b'"%b";q=%d;w=%d' % (limit.name.encode(), limit.amount, seconds)


def _refusal(decision: Decision, request_id: bytes) -> Answer:
    verdict = decision.verdict
    status = _OVER_LIMIT_STATUS if verdict is Verdict.OVER_LIMIT else verdict.status
    problem: dict[str, object] = {
        "type": f"{_ERRORS_URL}{verdict.code}",
        "title": verdict.title,
        "status": status,
        "detail": verdict.detail,
        "request_id": request_id.decode(),
    }
    headers: Headers = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store")]
    if verdict.status == 401:
        headers.append((b"www-authenticate", _challenge(verdict)))
    elif verdict is Verdict.MODEL_NOT_ALLOWED:
        scope = b', error="insufficient_scope", scope="model:%b"' % decision.model.encode()
        headers.append((b"www-authenticate", _REALM + scope))
    elif verdict is Verdict.CANNOT_DECIDE:
        headers.append((b"retry-after", b"%d" % _RETRY_SOON))
    elif verdict is Verdict.OVER_LIMIT and decision.terms is not None and decision.tally is not None:
        violated = [decision.terms.charge.shown[i] for i in decision.tally.violated]
        headers.append((b"retry-after", b"%d" % max(decision.tally.wait, 1)))
        headers += rate_limit(decision.terms, decision.tally.meters)
        if any(not limit.is_smoothed for limit in violated):
            headers.append((b"x-should-retry", b"false"))  # read by the SDKs of OpenAI and Anthropic
        problem["violated-policies"] = [limit.name for limit in violated]
    body = json.dumps(problem, separators=(",", ":")).encode()
    headers.append((b"content-length", b"%d" % len(body)))
    return Answer(status, headers, body)


def _challenge(verdict: Verdict) -> bytes:
    """RFC 6750, 3: without a key the bare challenge, with a bad one the error."""
    if verdict is Verdict.NO_KEY:
        return _REALM
    return b'%b, error="invalid_token", error_description="%b"' % (_REALM, verdict.detail.encode())
