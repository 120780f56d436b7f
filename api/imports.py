"""Imports: keys of another system as CSV; a dry run, progress, and a report of what was refused and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO, Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from rest_framework import serializers
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.caps import most_keys_of
from accounts.imports.jobs import receive
from accounts.imports.reading import LONGEST_LINE, SWITCHED_OFF, Unreadable
from accounts.models import Account, ImportJob, ImportLine
from api.base.access import Action, allowed_to, find, find_account
from api.base.fields import AnySerializer, Moment, Strict, Text, YesOrNo
from api.base.paging import PageQuery, Pages
from api.base.resource import TooLarge, View, counted_for, query_of, take_from
from api.base.sheets import Csv, streamed
from api.keys import account_to_act_for
from runtime.memory_files import MOST_BYTES
from store.throttles import IMPORTS

LEAST_LINES = 1000  # that an upload of an account may have, whatever it may have of keys
ADMITTED = "authsvc.admitted"  # in an ASGI scope: the caller was asked before the body was read
_TOO_LARGE = f"An upload has {MOST_BYTES // 1024 // 1024} MB at most: split it, or use manage.py import_keys."


class SwitchedOff(APIException):
    """Before the body is read: keys that no gate takes are none to keep, nor to go through."""

    status_code = 403
    default_detail = "Imports are switched off here. The operator switches them on with AUTHSVC_IMPORTED_KEYS=1."


class CsvUpload(BaseParser):
    """The file as the whole body."""

    media_type = "text/csv"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return {"file": stream}


class Imports(View):
    parser_classes = (CsvUpload, MultiPartParser)  # type: ignore[assignment]
    pagination_class = Pages

    def get(self, request: Request) -> Response:
        """Imports of your accounts, newest first."""
        query_of(request, PageQuery)
        rows = allowed_to(self.caller, Action.IMPORT_KEYS, ImportJob.objects.select_related("account"), "account__")
        return self.page(rows, ImportOut, "-created")

    def post(self, request: Request) -> Response:
        """Upload a file: text/csv, or multipart/form-data with the field `file`. The worker goes through it."""
        query = query_of(request, ImportQuery)
        account = self.ask(request, query)
        upload = request.data.get("file")
        if not hasattr(upload, "readline"):
            raise ValidationError({"file": "Send the file as text/csv, or as multipart/form-data in the field `file`."})
        try:
            job = receive(
                _lines(upload), actor=self.caller.actor, account=account, dry_run=query.get("dry_run", False),
                most=self._most_lines(account),
                by_operator=self.caller.is_operator,
            )  # fmt: skip
        except Unreadable as error:
            raise ValidationError({"file": str(error)}) from error
        return Response(ImportOut(job).data, status=202, headers={"Location": f"{request.path}{job.public_id}/"})

    def _most_lines(self, account: Account | None) -> int | None:
        """Twice the keys that the account may have: a second upload of a file has many that are there already."""
        if account is None or self.caller.is_operator:
            return None  # as many as an upload has room for
        return max(LEAST_LINES, 2 * most_keys_of(account))

    def ask(self, request: Request, query: dict[str, Any]) -> Account | None:
        """For which account the caller may upload, if now. Who was asked before the body is counted once."""
        self.caller.require(Action.IMPORT_KEYS)
        if not settings.IMPORTED_KEYS:
            raise SwitchedOff
        account = self._account(query.get("account"))
        if not getattr(request._request, "scope", {}).get(ADMITTED):
            take_from(IMPORTS, counted_for(self.caller, account))
        return account

    def _account(self, public_id: str | None) -> Account | None:
        """The account of all lines; an operator need not name one, and then each line does."""
        if self.caller.is_operator and public_id is None and self.caller.may(Action.IMPORT_KEYS, None):
            return None
        if public_id is not None:
            return find_account(self.caller, Action.IMPORT_KEYS, public_id)
        return account_to_act_for(self.caller, Action.IMPORT_KEYS, None)


class OneImport(View):
    def get(self, request: Request, id: str) -> Response:
        """How far it is."""
        return Response(ImportOut(find_import(self, id)).data)


class ImportReport(View):
    renderer_classes = (JSONRenderer, Csv)
    pagination_class = Pages

    def get(self, request: Request, id: str) -> Response | StreamingHttpResponse:
        """What became of each line: of those that were refused, unless others are asked for. It is kept for 30 days."""
        query = query_of(request, ReportQuery)
        rows: QuerySet[ImportLine] = find_import(self, id).rows.order_by("number")
        if query["outcome"] != "all":
            rows = rows.filter(outcome=query["outcome"])
        if request.accepted_renderer.format == "csv":
            shown = (dict(LineOut(row).data) for row in rows.iterator(chunk_size=500))
            return streamed(request, f"import-{id}.csv", tuple(LineOut().fields), shown)
        return self.page(rows, LineOut, "created")


def find_import(view: View, public_id: str) -> ImportJob:
    rows = ImportJob.objects.select_related("account")
    return find(view.caller, Action.IMPORT_KEYS, rows, "account__", public_id=public_id)


def _lines(upload: Any) -> Iterator[str]:
    """A line at a time, of an upload of a bounded size. Raises TooLarge and Unreadable."""
    size = 0
    while raw := upload.readline(LONGEST_LINE * 4):
        size += len(raw)
        if size > MOST_BYTES:
            raise TooLarge(_TOO_LARGE)
        try:
            yield raw.decode()
        except UnicodeDecodeError as error:
            raise Unreadable("The file is not UTF-8.") from error


class ImportQuery(Strict):
    account = Text(required=False, max_length=8, help_text="Of all lines; an operator may let each line say its own.")
    dry_run = YesOrNo(
        required=False,
        help_text="Only say what would be imported. Whether another account has a key is told to operators alone.",
    )


class ReportQuery(PageQuery):
    outcome = serializers.ChoiceField(
        choices=("refused", "imported", "already_there", "waiting", "all"), default="refused"
    )
    format = serializers.ChoiceField(choices=("json", "csv"), required=False, help_text="As `Accept` would say.")


class ImportOut(AnySerializer):
    """`imported` of a dry run is what would be. What is in none of the three counts is still to be gone through."""

    id = serializers.CharField(source="public_id")
    account = serializers.CharField(source="account.public_id", allow_null=True, default=None)
    dry_run = serializers.BooleanField(source="is_dry_run")
    state = serializers.ChoiceField(choices=ImportJob.State.values)
    lines = serializers.IntegerField()
    imported = serializers.IntegerField()
    already_there = serializers.IntegerField()
    refused = serializers.IntegerField()
    created_at = Moment()
    finished_at = Moment(allow_null=True)
    warning = serializers.SerializerMethodField(
        help_text="What keeps imported keys from being taken, if anything does."
    )

    def get_warning(self, job: ImportJob) -> str | None:
        return None if settings.IMPORTED_KEYS else SWITCHED_OFF


class LineOut(AnySerializer):
    line = serializers.IntegerField(source="number", help_text="Its number in the file; the header is line 1.")
    outcome = serializers.ChoiceField(choices=ImportLine.Outcome.values)
    key = serializers.CharField(allow_blank=True, help_text="The id of the key that it is now.")
    why = serializers.CharField(allow_blank=True)
