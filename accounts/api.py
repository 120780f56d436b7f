"""The REST API: keys, for the people of the account that owns them."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import APIException, NotFound, ParseError, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import ApiKey, Membership, User
from accounts.problems import problem_of
from accounts.publish import Publication
from accounts.serializers import KeyIn, KeyOut
from accounts.services import Actor, issue_key, revoke_key

MOST_BODY_BYTES = 256 * 1024
Role = Membership.Role
_POSITION = re.compile("[0-9]{1,18}")
_ISSUERS = (Role.OWNER, Role.ADMIN, Role.MEMBER)
_MASTERS = (Role.OWNER, Role.ADMIN)


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


class Session(SessionAuthentication):
    """Django's session with CSRF; who is not signed in is told 401, not 403."""

    def authenticate_header(self, request: Request) -> str:
        return "Session"


class Pages(CursorPagination):
    """Newest first. A cursor that we did not make is not found, rather than an error of the database."""

    page_size = 100
    ordering = "-id"
    page_size_query_param = "page_size"
    max_page_size = 500

    def decode_cursor(self, request: Request) -> Cursor | None:
        cursor = super().decode_cursor(request)
        position = cursor.position if cursor else None
        if position is not None and not _POSITION.fullmatch(str(position)):
            raise NotFound(self.invalid_cursor_message)
        return cursor


class View(APIView):
    """What all views of the API share."""

    authentication_classes = (Session,)
    parser_classes = (SmallJSON,)

    def get_exception_handler(self) -> Any:
        return problem_of

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "no-store")
        return response


class Keys(View):
    def get(self, request: Request) -> Response:
        """The keys of all accounts that you are a member of, newest first."""
        pages = Pages()
        rows = pages.paginate_queryset(_keys_of(_person(request)), request, self)
        return pages.get_paginated_response(KeyOut(rows, many=True).data)

    def post(self, request: Request) -> Response:
        """Issue a key. Its text is in this answer and can never be read again."""
        form = KeyIn(data=request.data)
        form.is_valid(raise_exception=True)
        wanted = dict(form.validated_data)
        person = _person(request)
        membership = _membership(person, wanted.pop("account", None))
        if membership.role not in _ISSUERS:
            raise PermissionDenied
        issued = issue_key(membership.account, actor=Actor.person(request), **wanted)
        body = {**KeyOut(_keys_of(person).get(pk=issued.key.pk)).data, "key": issued.text}
        return _answer(issued.publication, 201, body)


class Key(View):
    def delete(self, request: Request, id: str) -> Response:
        """Revoke a key: after 204 its next request is refused."""
        person = _person(request)
        key = _keys_of(person).select_related("account__plan").filter(public_id=id).first()
        if key is None:
            raise Http404
        role = Membership.objects.values_list("role", flat=True).get(user=person, account=key.account)
        if role not in _MASTERS and not (role == Role.MEMBER and key.created_by_id == person.pk):
            raise PermissionDenied
        return _answer(revoke_key(key, actor=Actor.person(request)), 204, {"id": key.public_id})


class Nothing(View):
    """Addresses of the API that do not exist answer in its own manner."""

    permission_classes = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise Http404


def _person(request: Request) -> User:
    user = request.user
    assert isinstance(user, User)  # IsAuthenticated has let nobody else in
    return user


def _keys_of(person: User) -> QuerySet[ApiKey]:
    keys = ApiKey.objects.filter(account__memberships__user=person)
    return keys.select_related("account").prefetch_related("secrets", "limits__model")


def _membership(person: User, account_id: str | None) -> Membership:
    """The account to act for; one of somebody else is as unknown as one that does not exist."""
    memberships = Membership.objects.filter(user=person).select_related("account__plan")
    if account_id is None:
        mine = list(memberships[:2])
        if len(mine) != 1:
            ids = ", ".join(memberships.values_list("account__public_id", flat=True)[:20]) or "none"
            raise ValidationError({"account": f"Say which account the key is for; yours are: {ids}."})
        return mine[0]
    membership = memberships.filter(account__public_id=account_id).first()
    if membership is None:
        raise Http404
    return membership


def _answer(publication: Publication, status: int, body: dict[str, Any]) -> Response:
    """Done, or 202 for a change that is saved and that the gate does not know yet."""
    if publication.is_pending:
        return Response({**body, "state": "pending"}, status=202)
    return Response(None if status == 204 else body, status=status)
