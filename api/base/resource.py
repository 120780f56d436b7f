"""What all views of the API share: who asks, bodies of a bounded size, problems, and answers that say what is done."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Mapping
from os import SEEK_END
from typing import IO, Any, NoReturn

from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from rest_framework import serializers
from rest_framework.exceptions import APIException, ParseError, Throttled
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import JSONParser
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.facts.publish import Publication
from accounts.models import Account
from api.base.access import Caller
from api.base.authentication import Bearer, Session
from api.base.paging import Pages
from api.base.problems import problem_of
from store.throttles import DAYS_ISSUES, ISSUES, OPERATORS_WRITES, WRITES, Throttle

MOST_BODY_BYTES = 256 * 1024


class TooLarge(APIException):
    status_code = 413
    default_detail = f"The body is longer than {MOST_BODY_BYTES // 1024} KB."


class SmallJSON(JSONParser):
    """JSON of a bounded size: what is read before it is judged must not fill the memory."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        raw = stream.read(MOST_BODY_BYTES + 1)
        if len(raw) > MOST_BODY_BYTES:
            raise TooLarge
        try:
            return json.loads(codecs.decode(raw, "utf-8"), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise ParseError(f"The body is not JSON: {error}"[:200]) from error


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


class Formats(DefaultContentNegotiation):
    """`?format=` chooses where there is a choice. Elsewhere it is a parameter that does not exist, not a 404."""

    def filter_renderers(self, renderers: Iterable[BaseRenderer], format: str) -> list[BaseRenderer]:
        known = list(renderers)
        return [one for one in known if one.format == format] or known


class View(APIView):
    """A resource. `self.caller` asks; a list names its `pagination_class` and its serializers for the schema."""

    authentication_classes = (Bearer, Session)
    permission_classes: tuple[type[BasePermission], ...] = (
        IsAuthenticated,
    )  # what else somebody may do is in access.py
    parser_classes = (SmallJSON,)
    content_negotiation_class = Formats
    pagination_class: type[Pages] | None = None

    @property
    def caller(self) -> Caller:
        caller = self.request.auth
        assert isinstance(caller, Caller)  # IsAuthenticated has let nobody else in
        return caller

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        _measure_body(request)
        return super().initialize_request(request, *args, **kwargs)

    def get_exception_handler(self) -> Any:
        return problem_of

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def page(self, rows: QuerySet[Any], shown_by: type[serializers.BaseSerializer[Any]], order: str) -> Response:
        """One page of a list in this order, such as `-created`."""
        assert self.pagination_class is not None
        pages = self.pagination_class(order)
        return pages.get_paginated_response(shown_by(pages.paginate_queryset(rows, self.request, self), many=True).data)


def _measure_body(request: HttpRequest) -> None:
    """A body in chunks (RFC 9112, 7.1) says no length, and DRF takes one without a length for none: a change would be
    answered as done, and nothing would be changed."""
    if isinstance(request, ASGIRequest) and "HTTP_TRANSFER_ENCODING" in request.META:
        body: IO[bytes] = request._stream
        request.META["CONTENT_LENGTH"] = str(body.seek(0, SEEK_END))
        body.seek(0)


class Nothing(View):
    """Addresses of the API that do not exist answer in its own manner."""

    permission_classes = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise Http404


def body_of(request: Request, form: type[serializers.Serializer[Any]], *, partial: bool = False) -> dict[str, Any]:
    """The body as its form understands it. With `partial` only what was sent."""
    checked = form(data=request.data, partial=partial)
    checked.is_valid(raise_exception=True)
    return dict(checked.validated_data)


def query_of(request: Request, form: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """The query as its form understands it; a parameter that is given twice counts as the last one."""
    checked = form(data=request.query_params.dict())
    checked.is_valid(raise_exception=True)
    return dict(checked.validated_data)


def take_from(throttle: Throttle, who: str) -> None:
    """Count a sensitive call; 429 if there were too many."""
    if wait := throttle.wait(who):
        raise Throttled(wait)


def counted_for(caller: Caller, account: Account | None) -> str:
    """Whose throttle a call takes from: the account's, whichever of its people or programs asks; an operator's own."""
    return caller.reference if account is None or caller.is_operator else account.public_id


def count_write(caller: Caller, account: Account | None) -> None:
    """Count a change, once the caller may make it: those who may not must not use up the account's."""
    take_from(OPERATORS_WRITES if caller.is_operator else WRITES, counted_for(caller, account))


def count_new_secret(caller: Caller, account: Account) -> None:
    """Count a new key or rotation: each leaves a row that stays, so a day's are bounded too. Operators are trusted."""
    take_from(ISSUES, counted_for(caller, account))
    if not caller.is_operator:
        take_from(DAYS_ISSUES, account.public_id)


def answer(publication: Publication, status: int, body: dict[str, Any]) -> Response:
    """Done, or 202 for a change that is saved and that the gate does not know yet."""
    if publication.is_pending:
        return Response({**body, "state": "pending"}, status=202)
    return Response(None if status == 204 else body, status=status)
