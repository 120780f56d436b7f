"""Imports of another system's keys from CSV: dry runs, progress, and a report of the lines that were refused."""

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
from api.base.access import Action, Caller, account_to_act_for, find_account
from api.base.addresses import EXAMPLE_ACCOUNT
from api.base.fields import Input, Moment, Output, Text, YesOrNo
from api.base.operations import Operation, at
from api.base.paging import PageQuery
from api.base.resource import TooLarge, View, counted_for, take_from
from api.base.sheets import Csv, streamed
from runtime.memory_files import MOST_BYTES
from store.throttles import IMPORTS

LEAST_LINES = 1000  # every account may upload this many lines, however few keys it may have
ADMITTED = "authsvc.admitted"  # in an ASGI scope: the caller was admitted before the body was read
_TOO_LARGE = f"An upload can be at most {MOST_BYTES // 1024 // 1024} MB. Split it, or use manage.py import_keys."

_FILE = "key,name\r\nold-system-key-000001,laptop\r\n"
_UPLOADS: Mapping[str, dict[str, Any]] = {
    "text/csv": {"schema": {"type": "string"}, "example": _FILE},
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["file"],
            "properties": {"file": {"type": "string", "contentMediaType": "text/csv"}},
        },
        "example": {"file": _FILE},
    },
}


class SwitchedOff(APIException):
    """Answered before the body is read: keys that no gate accepts are neither stored nor checked."""

    status_code = 403
    default_detail = "Imports are disabled. The operator can enable them with AUTHSVC_IMPORTED_KEYS=1."


class CsvUpload(BaseParser):
    """The file is the whole body."""

    media_type = "text/csv"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return {"file": stream}


class ImportQuery(Input):
    account = Text(
        required=False,
        max_length=8,
        help_text="The account of all lines. An operator may leave it out and name an account in each line.",
    )
    dry_run = YesOrNo(
        required=False,
        help_text="Only report what would be imported. Only operators learn whether another account has a key.",
    )


class ReportQuery(PageQuery):
    outcome = serializers.ChoiceField(
        choices=("refused", "imported", "already_there", "waiting", "all"), default="refused"
    )
    format = serializers.ChoiceField(
        choices=("json", "csv"), required=False, help_text="Instead of the `Accept` header."
    )


class ImportOut(Output):
    """In a dry run `imported` counts what would be imported. Lines in none of the three counts are still waiting."""

    example = {
        "id": "T5c6tKxKf2JvC8nB",
        "account": EXAMPLE_ACCOUNT,
        "dry_run": False,
        "state": "running",
        "lines": 100000,
        "imported": 41000,
        "already_there": 0,
        "refused": 3,
        "created_at": "2030-11-23T06:20:00Z",
        "finished_at": None,
        "warning": None,
    }

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
    warning = serializers.SerializerMethodField(help_text="Why imported keys would not be accepted, if so.")

    def get_warning(self, job: ImportJob) -> str | None:
        return None if settings.IMPORTED_KEYS else SWITCHED_OFF


class LineOut(Output):
    example = {"line": 7, "outcome": "refused", "key": "", "why": "This key is shorter than 16 characters."}

    line = serializers.IntegerField(source="number", help_text="Its number in the file. The header is line 1.")
    outcome = serializers.ChoiceField(choices=ImportLine.Outcome.values)
    key = serializers.CharField(allow_blank=True, help_text="The id of the imported key.")
    why = serializers.CharField(allow_blank=True)


@at("imports/", name="imports")
class Imports(View):
    parser_classes = (CsvUpload, MultiPartParser)  # type: ignore[assignment]

    @Operation(
        id="list_imports", tag="imports", who=(Action.IMPORT_KEYS,), query=PageQuery, answer=ImportOut, is_list=True
    )
    def get(self, request: Request) -> Response:
        """List the imports of your accounts, newest first."""
        self.read_query()
        return self.page(self.allowed(ImportJob.objects.select_related("account"), "account__"), "-created")

    @Operation(
        id="import_keys",
        tag="imports",
        who=(Action.IMPORT_KEYS,),
        query=ImportQuery,
        uploads=_UPLOADS,
        status=202,
        answer=ImportOut,
        may_conflict=True,
        done="Accepted. The worker processes it.",
        headers={"Location": "Where to follow its progress."},
        links={"get_import": "id", "read_import_report": "id"},
    )
    def post(self, request: Request) -> Response:
        """Upload a file of keys, as text/csv or as multipart/form-data in the field `file`. The worker processes it."""
        query = self.read_query()
        account = admit(self.caller, request, query)
        upload = request.data.get("file")
        if not hasattr(upload, "readline"):
            raise ValidationError({"file": "Send the file as text/csv, or as multipart/form-data in the field `file`."})
        try:
            job = receive(
                _lines(upload),
                actor=self.caller.actor,
                account=account,
                dry_run=query.get("dry_run", False),
                most=_most_lines(self.caller, account),
                by_operator=self.caller.is_operator,
            )
        except Unreadable as error:
            raise ValidationError({"file": str(error)}) from error
        return Response(ImportOut(job).data, status=202, headers={"Location": f"{request.path}{job.public_id}/"})


@at("imports/<public_id:id>/", name="import")
class OneImport(View):
    @Operation(id="get_import", tag="imports", who=(Action.IMPORT_KEYS,), answer=ImportOut)
    def get(self, request: Request, id: str) -> Response:
        """Get an import and its progress."""
        return self.show(find_import(self, id))


@at("imports/<public_id:id>/report/", name="import-report")
class ImportReport(View):
    renderer_classes = (JSONRenderer, Csv)

    @Operation(
        id="read_import_report",
        tag="imports",
        who=(Action.IMPORT_KEYS,),
        query=ReportQuery,
        answer=LineOut,
        is_list=True,
        also_as={"text/csv": "line,outcome,key,why\r\n7,refused,,This key is shorter than 16 characters.\r\n"},
    )
    def get(self, request: Request, id: str) -> Response | StreamingHttpResponse:
        """Read what became of each line: of those that were refused, unless you ask for others. Reports are kept for 30
        days."""
        query = self.read_query()
        rows: QuerySet[ImportLine] = find_import(self, id).rows.order_by("number")
        if query["outcome"] != "all":
            rows = rows.filter(outcome=query["outcome"])
        if request.accepted_renderer.format == "csv":
            shown = (dict(LineOut(row).data) for row in rows.iterator(chunk_size=500))
            return streamed(request, f"import-{id}.csv", tuple(LineOut().fields), shown)
        return self.page(rows, "created")


def admit(caller: Caller, request: Request, query: dict[str, Any]) -> Account | None:
    """The account that the caller may upload for now; None if each line names its own.

    Counts the upload, unless this was done before the body was read (api/uploads.py).
    """
    caller.require(Action.IMPORT_KEYS)
    if not settings.IMPORTED_KEYS:
        raise SwitchedOff
    account = _account(caller, query.get("account"))
    if not getattr(request._request, "scope", {}).get(ADMITTED):
        take_from(IMPORTS, counted_for(caller, account))
    return account


def _account(caller: Caller, public_id: str | None) -> Account | None:
    """The account of all lines. An operator need not name one; then each line has to."""
    if caller.is_operator and public_id is None and caller.may(Action.IMPORT_KEYS, None):
        return None
    if public_id is not None:
        return find_account(caller, Action.IMPORT_KEYS, public_id)
    return account_to_act_for(caller, Action.IMPORT_KEYS, None)


def _most_lines(caller: Caller, account: Account | None) -> int | None:
    """Twice the keys that the account may have, since a repeated upload contains many that are already there."""
    if account is None or caller.is_operator:
        return None  # only the size of an upload limits them
    return max(LEAST_LINES, 2 * most_keys_of(account))


def find_import(view: View, public_id: str) -> ImportJob:
    return view.find(ImportJob.objects.select_related("account"), "account__", public_id=public_id)


def _lines(upload: Any) -> Iterator[str]:
    """The lines of an upload of bounded size. Raises TooLarge and Unreadable."""
    size = 0
    while raw := upload.readline(LONGEST_LINE * 4):
        size += len(raw)
        if size > MOST_BYTES:
            raise TooLarge(_TOO_LARGE)
        try:
            yield raw.decode()
        except UnicodeDecodeError as error:
            raise Unreadable("The file is not UTF-8.") from error
