"""Importing keys from another system by the thousand: lines of CSV are read, checked and imported in batches.

A key is digested as soon as its line is read, and not kept.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts import caps, keys
from accounts.facts.publish import Publication, change
from accounts.keys import Pepper, digest_of_hash
from accounts.models import Account, ApiKey, AuditEvent, KeySecret
from accounts.peppers import peppers
from accounts.plan_models import models_of
from accounts.reference import is_meant_by, unknown
from accounts.services.acts import Actor
from accounts.services.record import key_state
from quotas.models import ServedModel
from runtime.among import among
from runtime.insertion import insert
from runtime.labels import ONE_LINE, odd_character

COLUMNS = ("account", "external_id", "name", "key", "sha256", "start", "expires_at", "models")
MOST_LINES = 1_000_000
LONGEST_LINE = 8192
BATCH = 2000
SHORTEST, LONGEST = 16, 512
IMPORTED, ALREADY_THERE, REFUSED = "imported", "already_there", "refused"
FOREIGN = "This key cannot be imported."  # a different account has it, which must not be revealed
TOO_MANY_FOREIGN = "Not checked: too many lines of this account's imports could not be imported. Ask your operator."
SWITCHED_OFF = "Gates refuse imported keys until AUTHSVC_IMPORTED_KEYS=1 is set for them."

_KEY = re.compile(rf"[\x21-\x7e]{{{SHORTEST},{LONGEST}}}")
_SHA256 = re.compile("[0-9A-Fa-f]{64}")
_START_LENGTH, _NAME_LENGTH, _LONGEST_WHY = 24, 200, 300
_NAME = ApiKey._meta.get_field("name")


class Unreadable(ValueError):
    """The whole file can't be imported; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the file, with the digests of its key: the one under the current pepper is first."""

    number: int
    name: str
    pepper: str
    digests: tuple[str, ...]
    start: str
    account: str = ""
    external_id: str = ""
    expires_at: str = ""
    models: tuple[str, ...] = ()


class LineOutcome(NamedTuple):
    """The outcome of a line: the id of the imported key, or the reason for refusing it."""

    number: int
    word: str
    key: str = ""
    why: str = ""


class _NewKey(NamedTuple):
    """A key that a line asks for, checked and with an id."""

    public_id: str
    account: Account
    models: list[str] | None
    expires_at: datetime | None
    line: Line


class _Refused(Exception):
    pass


def read_lines(lines: Iterable[str], most: int | None = None) -> Iterator[Line | LineOutcome]:
    """Each line below the header, read and digested, or refused. Raises Unreadable, also after `most` lines.

    Every line is a record of its own, so an unclosed quote can't swallow the next line.
    """
    source, most = iter(lines), most or MOST_LINES
    columns = _columns(next(source, ""))
    known = peppers()
    seen: dict[bytes, int] = {}
    for number, text in enumerate(source, 2):
        if number - 1 > most:
            raise Unreadable(f"The file has more than {most} lines. Split it.")
        if not text.strip():
            continue
        try:
            line = _read(number, columns, text, known)
            first = seen.setdefault(bytes.fromhex(line.digests[0])[:16], number)
            yield line if first == number else LineOutcome(number, REFUSED, why=f"Same key as in line {first}.")
        except _Refused as refusal:
            yield LineOutcome(number, REFUSED, why=str(refusal))


def _columns(header: str) -> list[str]:
    columns = [name.strip().lower() for name in next(csv.reader([header.removeprefix("\ufeff")]), [])]
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown or len(set(columns)) < len(columns):
        raise Unreadable(f"The header may contain these columns, each once: {', '.join(COLUMNS)}.")
    if "name" not in columns or ("key" in columns) is ("sha256" in columns):
        raise Unreadable("The header must contain the columns name and either key or sha256.")
    return columns


def _read(number: int, columns: Sequence[str], text: str, known: Sequence[Pepper]) -> Line:
    try:
        cells = next(csv.reader([text]))
    except csv.Error as error:
        raise _Refused("This is not valid CSV.") from error
    if len(text) > LONGEST_LINE or len(cells) != len(columns):
        raise _Refused(f"Expected {len(columns)} columns, as in the header, and at most {LONGEST_LINE} characters.")
    if odd := next(filter(None, map(odd_character, cells)), None):
        raise _Refused(ONE_LINE.format(code=ord(odd)))
    row = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
    if not row["name"] or len(row["name"]) > _NAME_LENGTH:
        raise _Refused(f"The name must have 1 to {_NAME_LENGTH} characters.")
    sha256, start = _digested(row)
    return Line(
        number,
        row["name"],
        known[0].id,
        tuple(digest_of_hash(sha256, pepper).hex() for pepper in known),
        start,
        row.get("account", ""),
        row.get("external_id", ""),
        _moment(row.get("expires_at", "")),
        tuple(dict.fromkeys(row.get("models", "").split())),
    )


def _digested(row: Mapping[str, str]) -> tuple[bytes, str]:
    """The SHA-256 of the key, and the start to recognize it by."""
    start = row.get("start", "")
    if len(start) > _START_LENGTH:
        raise _Refused(
            f"The start may have at most {_START_LENGTH} characters: it is shown so that people recognize the key."
        )
    if "sha256" in row:
        if not _SHA256.fullmatch(row["sha256"]):
            raise _Refused("The SHA-256 must have 64 hexadecimal digits.")
        return bytes.fromhex(row["sha256"]), start or "imported"
    text = row["key"]
    if text.startswith(f"{settings.KEY_PREFIX}_"):
        raise _Refused(f"The key starts with {settings.KEY_PREFIX}_, like keys of this service.")
    if len(text) < SHORTEST or len(text) > LONGEST:
        raise _Refused(f"The key must have {SHORTEST} to {LONGEST} characters.")
    if not _KEY.fullmatch(text) or "," in text:
        raise _Refused("The key may contain only visible ASCII characters, and no comma, which separates keys.")
    return hashlib.sha256(text.encode()).digest(), start or text[:4]


def _moment(text: str) -> str:
    if not text:
        return ""
    try:
        moment = parse_datetime(text)
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        pass
    raise _Refused("expires_at must be a time with an offset, such as 2030-01-31T12:00:00Z.")


def import_lines(
    lines: Sequence[Line],
    *,
    actor: Actor,
    account: Account | None = None,
    dry_run: bool = False,
    promised: Counter[str] | None = None,
    most_foreign: Callable[[], int] | None = None,
) -> tuple[list[LineOutcome], Publication]:
    """Import a batch in one transaction, and publish it as a whole. A key that was imported before is not an error.

    All lines belong to `account`, or, if it is None, each line names its account. Lines that exceed the number of keys
    of their account are refused, so uploading the same file again later imports as many as fit by then. `promised`
    counts the keys that earlier batches of a dry run would have imported into each account.

    Operators get every detail. A tenant could test stolen keys, so a dry run reveals nothing about other accounts to
    it, and an import only for `most_foreign()` lines, which is called while the account is locked.
    """
    try:
        return _import_lines(lines, actor, account, dry_run, promised, most_foreign)
    except IntegrityError:  # the same keys were imported concurrently: now they exist
        return _import_lines(lines, actor, account, dry_run, promised, most_foreign)


def _import_lines(
    lines: Sequence[Line],
    actor: Actor,
    account: Account | None,
    dry_run: bool,
    promised: Counter[str] | None,
    most_foreign: Callable[[], int] | None,
) -> tuple[list[LineOutcome], Publication]:
    is_tenants = most_foreign is not None
    with change() as publication:
        accounts = _Accounts(lines, account, lock=not dry_run)
        room = _Room(accounts.all, promised or Counter())
        there = _already_there(lines, account if is_tenants and dry_run else None)
        left = most_foreign() if most_foreign is not None and not dry_run else len(lines)
        models = models_of(account.plan) if is_tenants and account is not None else _every_model()
        known = {pepper.id for pepper in peppers()}
        outcomes, made = [], []
        for line in lines:
            try:
                of = accounts.of(line)
                if line.pepper not in known:
                    raise _Refused("KEY_PEPPER was changed after this was uploaded. Upload it again.")
                if left <= 0:
                    raise _Refused(TOO_MANY_FOREIGN)
                found = next((there[digest] for digest in line.digests if digest in there), None)
                if found is not None:
                    outcome = _known(line, of, *found)
                    if is_tenants and not found[0].startswith(of.public_id):
                        left, outcome = left - 1, outcome._replace(why=FOREIGN)
                    outcomes.append(outcome)
                    continue
                new = _new(line, of, models)
                room.take(of)
                made.append(new)
                outcomes.append(LineOutcome(line.number, IMPORTED, "" if dry_run else new.public_id))
            except _Refused as refusal:
                outcomes.append(LineOutcome(line.number, REFUSED, why=str(refusal)))
        if made and not dry_run:
            _write(made, actor, publication)
    if dry_run and promised is not None:
        promised.update(new.account.public_id for new in made)
    return outcomes, publication


class _Accounts:
    """The accounts named in the lines, fetched together."""

    def __init__(self, lines: Sequence[Line], account: Account | None, *, lock: bool) -> None:
        self._only = account
        rows = Account._base_manager.select_for_update() if lock else Account.objects.all()
        rows = rows.order_by("pk")  # always in the same order, so that two imports can't deadlock
        if account is not None:
            self._only = rows.get(pk=account.pk)
            self.all = [self._only]
            return
        references = {line.account for line in lines} | {line.external_id for line in lines}
        self.all = found = list(rows.filter(is_meant_by(references - {""})))
        self._by_external = {row.external_id: row for row in found}
        self._by_any: dict[str | None, Account] = {**self._by_external, **{row.public_id: row for row in found}}

    def of(self, line: Line) -> Account:
        account = self._only or self._named(line)
        if self._only is not None and not {line.account, line.external_id} <= {
            "",
            account.public_id,
            account.external_id,
        }:
            raise _Refused("The line names a different account than the one this import is for.")
        if account.closed_at:
            raise _Refused("The account is closed and can't get new keys.")
        return account

    def _named(self, line: Line) -> Account:
        if bool(line.account) is bool(line.external_id):
            raise _Refused("Name the account: put its id or external id in account, or its external id in external_id.")
        found = self._by_any.get(line.account) or self._by_external.get(line.external_id)
        if found is None:
            raise _Refused(unknown(line.account or line.external_id)[:_LONGEST_WHY])
        return found


class _Room:
    """How many more keys each account may have. The accounts are locked, so no keys can be issued concurrently."""

    def __init__(self, accounts: Collection[Account], promised: Counter[str]) -> None:
        rooms = caps.rooms_for_keys(accounts)
        self._left = {account.pk: rooms[account.pk] - promised[account.public_id] for account in accounts}

    def take(self, account: Account) -> None:
        if self._left[account.pk] <= 0:
            raise _Refused(caps.no_room(account))
        self._left[account.pk] -= 1


def _every_model() -> set[str]:
    return set(ServedModel.objects.values_list("slug", flat=True))


def _already_there(lines: Sequence[Line], of_account: Account | None) -> dict[str, tuple[str, bool]]:
    """Stored digests, of all accounts or one → the key's id and whether it is revoked."""
    digests = [digest for line in lines for digest in line.digests]
    rows = KeySecret.objects.filter(among("digest", digests)).order_by()
    if of_account is not None:
        rows = rows.filter(key__account=of_account)
    found = rows.values_list("digest", "key__public_id", "key__revoked_at")
    return {digest: (key, revoked is not None) for digest, key, revoked in found}


def _known(line: Line, account: Account, key: str, is_revoked: bool) -> LineOutcome:
    if not key.startswith(account.public_id):
        return LineOutcome(line.number, REFUSED, why="A different account already has this key.")
    if is_revoked:
        return LineOutcome(line.number, REFUSED, key, "It was imported before and is revoked.")
    return LineOutcome(line.number, ALREADY_THERE, key)


def _new(line: Line, account: Account, models: set[str]) -> _NewKey:
    unknown = [slug for slug in line.models if slug not in models]
    if unknown:
        raise _Refused(f"Unknown model {', '.join(unknown)[:100]}.")
    expires_at = datetime.fromisoformat(line.expires_at) if line.expires_at else None
    if expires_at is not None and expires_at <= timezone.now():
        raise _Refused("The time in expires_at has passed.")
    try:
        _NAME.clean(line.name, None)  # the other columns were checked above or are ours
    except ValidationError as error:
        raise _Refused("; ".join(error.messages)[:_LONGEST_WHY]) from error
    return _NewKey(keys.new_key_id(account.public_id), account, list(line.models) or None, expires_at, line)


def _write(made: Sequence[_NewKey], actor: Actor, publication: Publication) -> None:
    """Insert the keys, their secrets, and their rows in the outbox and the audit log."""
    ids = [new.public_id for new in made]
    columns = ("public_id", "account_id", "name", "narrowed_to", "expires_at")
    rows = ((new.public_id, new.account.pk, new.line.name, new.models, new.expires_at) for new in made)
    insert(ApiKey, columns, rows, created_by=actor.user, made_with=actor.made_with)
    pks = dict(ApiKey.objects.filter(among("public_id", ids)).order_by().values_list("public_id", "pk"))
    secrets = (
        (pks[new.public_id], new.line.digests[0], new.line.pepper, new.line.pepper, new.line.start) for new in made
    )
    insert(KeySecret, ("key_id", "digest", "pepper", "minted_pepper", "start"), secrets, is_imported=True)
    publication.of_births(ids)
    _write_down(made, actor)


def _write_down(made: Sequence[_NewKey], actor: Actor) -> None:
    """Record each key in the audit log, as if it had been imported alone."""
    like = key_state(ApiKey(), limits=())
    states = (
        {
            **like,
            "name": new.line.name,
            "models": new.models,
            "expires_at": new.expires_at and new.expires_at.isoformat(),
        }
        for new in made
    )
    rows = ((new.account.public_id, new.public_id, state) for new, state in zip(made, states, strict=True))
    insert(AuditEvent, ("account", "subject", "after"), rows, actor=actor.name, address=actor.address, act="key.import")


def to_json(line: Line) -> dict[str, Any]:
    return asdict(line)


def from_json(value: Mapping[str, Any]) -> Line:
    return Line(**{**value, "digests": tuple(value["digests"]), "models": tuple(value["models"])})
