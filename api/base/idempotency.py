"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): losing an answer never loses a secret.

The stored answer contains no secret. A secret is derived from the pepper, a nonce and the Idempotency-Key, which only
the client has, and derived again when the client repeats the request with it (docs/decisions/0012).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from django.db import IntegrityError, OperationalError, connection, transaction
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import keys
from accounts.facts.publish import Publication
from accounts.models import KeptAnswer, OutboxRow
from accounts.peppers import peppers
from api.base.access import Caller

LONGEST_WAIT = "5s"
_KEY = re.compile(r'"([\x20\x21\x23-\x5b\x5d-\x7e]{1,255})"|([\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]{1,255})')


class IdempotencyConflict(APIException):
    """The first answer cannot be repeated now. `wait` is in seconds."""

    status_code = HTTPStatus.CONFLICT
    wait: int | None = None


class KeyReused(APIException):
    """The Idempotency-Key was used for a different request before."""

    status_code = HTTPStatus.UNPROCESSABLE_ENTITY


@dataclass(frozen=True, slots=True)
class Made:
    """What a request created: the answer, and for a secret its public id and its text."""

    status: int
    body: dict[str, Any]
    account: str = ""
    publication: Publication | None = None
    subject: str = ""
    text: str = field(default="", repr=False)

    @property
    def is_pending(self) -> bool:
        return self.publication is not None and self.publication.is_pending

    def shown(self) -> dict[str, Any]:
        return {**self.body, "key": self.text} if self.text else self.body


class _Taken(Exception):
    """A concurrent request with this Idempotency-Key was first."""


def once(request: Request, caller: Caller, prefix: str, make: Callable[[str | None], Made]) -> Response:
    """Call `make`, or repeat the answer if it was called with this Idempotency-Key before.

    `prefix` is that of the secret's kind. The stored answer and what is created are committed together or not at all.
    """
    text = idempotency_key(request)
    if text is None:
        made = make(None)
        return _answer(made.status, made.shown(), is_pending=made.is_pending)
    kept = _kept(caller, text)
    if kept is None:
        try:
            return _first(request, caller, text, prefix, make)
        except _Taken:
            kept = _kept(caller, text)
    if kept is None:  # the other request was first but failed
        return _first(request, caller, text, prefix, make)
    return _again(kept, request, caller, text, prefix)


def idempotency_key(request: Request) -> str | None:
    """The header's value, with or without the quotes of a structured string (RFC 9651)."""
    raw = request.headers.get("Idempotency-Key")
    if raw is None:
        return None
    found = _KEY.fullmatch(raw.strip())
    if found is None:
        raise ValidationError(
            {"Idempotency-Key": "Send one value of up to 255 visible ASCII characters, such as a UUID."}
        )
    return found[1] or found[2]


def _kept(caller: Caller, text: str) -> KeptAnswer | None:
    digests = [_digest(pepper, "key", text) for pepper in peppers()]
    return KeptAnswer.objects.filter(caller=caller.reference, key__in=digests).first()


def _first(request: Request, caller: Caller, text: str, prefix: str, make: Callable[[str | None], Made]) -> Response:
    pepper, nonce = peppers()[0], secrets.token_hex(16)
    secret = keys.derived_secret(pepper, caller.reference, text, nonce)
    try:
        with transaction.atomic():
            row = KeptAnswer(
                caller=caller.reference,
                key=_digest(pepper, "key", text),
                pepper=pepper.id,
                nonce=nonce,
                fingerprint=_fingerprint(pepper, request),
                status=0,
                body={},
            )
            _claim(row)
            made = make(secret)
            row.account, row.subject = made.account, made.subject
            if made.text:
                row.digest = keys.new_key(made.subject, prefix, pepper, secret).digest
            row.status, row.body = made.status, made.body
            row.save()
    except OperationalError as error:
        if type(error.__cause__).__name__ != "LockNotAvailable":
            raise
        raise _still_working() from error
    return _answer(made.status, made.shown(), is_pending=made.is_pending)


def _claim(row: KeptAnswer) -> None:
    """Insert the row. Waits a bounded time for a concurrent request with the same Idempotency-Key."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"SET LOCAL lock_timeout = '{LONGEST_WAIT}'")
        try:
            row.save(force_insert=True)
        except IntegrityError as error:
            raise _Taken from error
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL lock_timeout = DEFAULT")


def _again(kept: KeptAnswer, request: Request, caller: Caller, text: str, prefix: str) -> Response:
    pepper = next(pepper for pepper in peppers() if pepper.id == kept.pepper)
    if kept.fingerprint != _fingerprint(pepper, request):
        raise KeyReused(
            "This Idempotency-Key was used for a different request. Use a new one for each distinct request."
        )
    body = dict(kept.body)
    if kept.digest:
        secret = keys.derived_secret(pepper, caller.reference, text, kept.nonce)
        new = keys.new_key(kept.subject, prefix, pepper, secret)
        if new.digest != kept.digest:
            raise IdempotencyConflict(
                f"{kept.subject} was created, but settings have changed since and its secret cannot be shown again."
            )
        body["key"] = new.text
    is_pending = OutboxRow.objects.filter(part=OutboxRow.Part.KEY, subject=kept.subject).exists()
    response = _answer(kept.status, body, is_pending=bool(kept.subject) and is_pending)
    response["Idempotency-Replayed"] = "true"
    return response


def _answer(status: int, body: dict[str, Any], *, is_pending: bool) -> Response:
    return Response({**body, "state": "pending"}, status=202) if is_pending else Response(body, status=status)


def _still_working() -> IdempotencyConflict:
    conflict = IdempotencyConflict(
        "The first request with this Idempotency-Key is still being processed. Try again in a moment."
    )
    conflict.wait = 1
    return conflict


def _fingerprint(pepper: keys.Pepper, request: Request) -> str:
    body = json.dumps(request.data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return _digest(pepper, "request", f"{request.method} {request.path} {body}")


def _digest(pepper: keys.Pepper, kind: str, text: str) -> str:
    return pepper.mac(f"authsvc idempotency {kind} {text}".encode()).hex()
