"""The export of an account, and its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.services.closing import close_and_erase, export
from api.base.access import Action, find_account
from api.base.fields import Strict, Text
from api.base.resource import View, answer, body_of, count_write, take_from
from store.throttles import EXPORTS

_PIECES = 200


class Export(View):
    def get(self, request: Request, id: str) -> HttpResponseBase:
        """All that is known of the account as one JSON object: people, keys without secrets, limits, usage, audit."""
        account = find_account(self.caller, Action.EXPORT_ACCOUNT, id)
        take_from(EXPORTS, account.public_id)
        pieces = _larger(export(account))
        content = _in_turn(pieces) if isinstance(request._request, ASGIRequest) else pieces
        headers = {"Content-Disposition": f'attachment; filename="{account.public_id}.json"'}
        return StreamingHttpResponse(content, content_type="application/json", headers=headers)


class Close(View):
    def post(self, request: Request, id: str) -> Response:
        """Close the account for good: its keys are refused at once, its names and people are forgotten, usage stays
        by public ids. Export it first. `confirm` is the account's id."""
        account = find_account(self.caller, Action.CLOSE_ACCOUNT, id)
        if body_of(request, CloseIn)["confirm"] != account.public_id:
            raise serializers.ValidationError({"confirm": "Write the account's id: closing cannot be undone."})
        count_write(self.caller, account)
        return answer(close_and_erase(account, actor=self.caller.actor), 204, {"id": account.public_id})


def _larger(pieces: Iterator[str]) -> Iterator[str]:
    """Several pieces as one: each that is sent costs a change of threads."""
    held: list[str] = []
    for piece in pieces:
        held.append(piece)
        if len(held) == _PIECES:
            yield "".join(held)
            held.clear()
    yield "".join(held)


async def _in_turn(pieces: Iterator[str]) -> AsyncIterator[str]:
    """The pieces, each made in the thread that may ask the database."""
    step = sync_to_async(lambda: next(pieces, None))
    while (piece := await step()) is not None:
        yield piece


class CloseIn(Strict):
    confirm = Text(max_length=8, help_text="The account's id.")
