"""The base of all views of the API: the caller, bodies of a bounded size, problems, throttles and answers."""

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
from api.base.access import Action, Caller, Row, account_to_act_for, allowed_to, find, find_account
from api.base.authentication import Bearer, Session
from api.base.operations import Operation, operation_of
from api.base.paging import OrderedRows, PageQuery, page_of
from api.base.problems import problem_of
from store.throttles import DAYS_ISSUES, ISSUES, OPERATORS_WRITES, WRITES, Throttle

MOST_BODY_BYTES = 256 * 1024


class TooLarge(APIException):
    status_code = 413
    default_detail = f"The body is longer than {MOST_BODY_BYTES // 1024} KB."


class SmallJSON(JSONParser):
    """JSON of a bounded size, since it is read into memory before it can be validated."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        raw = stream.read(MOST_BODY_BYTES + 1)
        if len(raw) > MOST_BODY_BYTES:
            raise TooLarge
        try:
            return json.loads(codecs.decode(raw, "utf-8"), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise ParseError(f"The body is not valid JSON: {error}"[:200]) from error


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


class Formats(DefaultContentNegotiation):
    """`?format=` chooses where there is a choice. Elsewhere it is an unknown parameter rather than a 404."""

    def filter_renderers(self, renderers: Iterable[BaseRenderer], format: str) -> list[BaseRenderer]:
        known = list(renderers)
        return [one for one in known if one.format == format] or known


class View(APIView):
    """A resource. `@at` gives it its address, `@Operation` describes each of its methods."""

    authentication_classes = (Bearer, Session)
    # Everybody who is authenticated; `Operation.who` and the table in accounts/authority.py say the rest.
    permission_classes: tuple[type[BasePermission], ...] = (IsAuthenticated,)
    parser_classes = (SmallJSON,)
    content_negotiation_class = Formats

    @property
    def caller(self) -> Caller:
        caller = self.request.auth
        assert isinstance(caller, Caller)  # IsAuthenticated lets nobody else in
        return caller

    @property
    def operation(self) -> Operation:
        """The call that is being made."""
        operation = operation_of(type(self), str(self.request.method))
        assert operation is not None
        return operation

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        _measure_body(request)
        return super().initialize_request(request, *args, **kwargs)

    def get_exception_handler(self) -> Any:
        return problem_of

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    # What the operation takes. A method calls these in the order in which a caller should learn of faults.

    def read_query(self) -> dict[str, Any]:
        """The validated query."""
        assert self.operation.query is not None
        return query_of(self.request, self.operation.query)

    def read_body(self) -> dict[str, Any]:
        """The validated body. Of a partial change only the fields that were sent."""
        assert self.operation.body is not None
        form = self.operation.body(data=self.request.data, partial=self.operation.is_partial)
        form.is_valid(raise_exception=True)
        return dict(form.validated_data)

    # Whom it admits: by the operation's first action.

    def require(self) -> None:
        """Refuse a credential whose scopes could never allow this, before anything is looked up."""
        self.caller.require(self._action)

    def find(self, rows: QuerySet[Row], to_account: str = "", **where: Any) -> Row:
        """The one row, if the caller may do this with it: 404 for what they cannot see, 403 for what they can."""
        return find(self.caller, self._action, rows, to_account, **where)

    def find_account(self, public_id: str, action: Action | None = None) -> Account:
        return find_account(self.caller, action or self._action, public_id)

    def find_own_account(self, public_id: str | None) -> Account:
        """The named account, or the caller's only one."""
        return account_to_act_for(self.caller, self._action, public_id)

    def allowed(self, rows: Any, to_account: str = "") -> Any:
        """The rows that the caller may do this with."""
        return allowed_to(self.caller, self._action, rows, to_account)

    @property
    def _action(self) -> Action:
        return self.operation.who[0]

    # What it answers.

    def show(self, row: Any) -> Response:
        assert self.operation.answer is not None
        return Response(self.operation.answer(row).data, status=self.operation.status)

    def page(self, rows: QuerySet[Any], order: str) -> Response:
        """One page of the list in this order, such as `-created`."""
        form, shown_by = self.operation.query, self.operation.answer
        assert form is not None and issubclass(form, PageQuery) and shown_by is not None
        found = page_of(self.request, OrderedRows(rows, form.orders[order.lstrip("-")], order.startswith("-")))
        return found.answer(shown_by(found.rows, many=True).data)


def _measure_body(request: HttpRequest) -> None:
    """Give a chunked body (RFC 9112, 7.1) its length. DRF takes a body without one for empty: it would answer that the
    change was made, having changed nothing."""
    if isinstance(request, ASGIRequest) and "HTTP_TRANSFER_ENCODING" in request.META:
        body: IO[bytes] = request._stream
        request.META["CONTENT_LENGTH"] = str(body.seek(0, SEEK_END))
        body.seek(0)


class UnknownAddress(View):
    """Answers 404 as a problem document, below /api/v1/."""

    permission_classes = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise Http404


def query_of(request: Request, form: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """The validated query. Of a parameter that is given twice the last counts."""
    checked = form(data=request.query_params.dict())
    checked.is_valid(raise_exception=True)
    return dict(checked.validated_data)


def take_from(throttle: Throttle, who: str) -> None:
    """Count a sensitive call. Raises Throttled (429) if there were too many."""
    if wait := throttle.wait(who):
        raise Throttled(wait)


def counted_for(caller: Caller, account: Account | None) -> str:
    """Whose throttle counts a call: the account's, for all of its people and programs; an operator's own."""
    return caller.reference if account is None or caller.is_operator else account.public_id


def count_write(caller: Caller, account: Account | None) -> None:
    """Count a change. Call it once the caller is known to be allowed: others must not use up the account's throttle."""
    take_from(OPERATORS_WRITES if caller.is_operator else WRITES, counted_for(caller, account))


def count_new_secret(caller: Caller, account: Account) -> None:
    """Count a new secret. Each leaves a permanent row, so they are limited per day too, except for operators."""
    take_from(ISSUES, counted_for(caller, account))
    if not caller.is_operator:
        take_from(DAYS_ISSUES, account.public_id)


def answer(publication: Publication, status: int, body: dict[str, Any]) -> Response:
    """Answer a change with this status, or with 202 while the gate does not know it yet."""
    if publication.is_pending:
        return Response({**body, "state": "pending"}, status=202)
    return Response(None if status == 204 else body, status=status)
