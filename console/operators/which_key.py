"""Which key is this? Somebody found a key, in a log or a repository: whose it is, whether it works, and revoke it.

The pasted text is answered in the same response and kept nowhere: not in the session, not in an address, not in a log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from hmac import compare_digest
from typing import Any, NamedTuple

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from accounts.keys import KeyReader, PresentedKey, digest_imported
from accounts.models import ApiKey, Credential, KeySecret, ManagementKey, OperatorToken
from accounts.peppers import peppers
from accounts.services.credentials import MANAGEMENT, OPERATOR, prefix_of
from console.operators.places import Words, may

LONGEST = 10_000  # characters: enough for a page of a log
MOST = 10  # keys out of one text

_WORKS = gettext_lazy("This secret works. Anyone who has it can use the key.")
_ENDED = gettext_lazy("This was a secret of the key. It is refused now.")
_OTHER = gettext_lazy("The id is this key's, but the secret is not: it was replaced, cut off or made up.")
_ONLY_ID = gettext_lazy("Only the id was pasted, so whether the secret works can't be told.")


class Pasted(forms.Form):
    text = forms.CharField(max_length=LONGEST)


class FoundKey(NamedTuple):
    """A key that the text contains, its page and its revocation. `words` say what the text proves."""

    row: ApiKey | Credential
    kind: Words
    words: Words
    works: bool
    address: str
    revoke: str | None


@sensitive_post_parameters()
@sensitive_variables("form", "text")
@require_http_methods(["GET", "HEAD", "POST"])
def which_key(request: HttpRequest) -> HttpResponse:
    if not may(request, "accounts.view_apikey"):
        raise PermissionDenied
    form = Pasted(request.POST) if request.method == "POST" else None
    context: dict[str, Any] = {**admin.site.each_context(request), "title": _("Which key is this?"), "longest": LONGEST}
    if form is not None and form.is_valid():
        text = form.cleaned_data["text"]
        found = (_shown(request, match) for match in keys_in(text, timezone.now())[:MOST])
        # Rows that this person may not see look as if they were not there.
        context |= {"found": [one for one in found if one.address], "is_asked": True}
    elif form is not None:
        context["fault"] = form.errors["text"][0]
    return TemplateResponse(request, "admin/operators/which_key.html", context)


class Match(NamedTuple):
    """A row that a text names, and what the text proves."""

    row: ApiKey | Credential
    words: Words
    works: bool


@sensitive_variables("text")
def keys_in(text: str, now: datetime) -> list[Match]:
    """Every key of ours in a text, each once; an imported key only if it is the whole text."""
    found = [*_api_keys(text, now), *_credentials(text, now)] or list(_imported(text.strip(), now)) or _ids(text)
    return list({(type(match.row), match.row.pk): match for match in reversed(found)}.values())[::-1]


def _strings(text: str, prefix: str) -> Iterator[tuple[str, PresentedKey | None]]:
    """The public id of each string with this prefix, and the key that it is if it is whole."""
    reader = KeyReader(prefix, peppers())
    pattern = rf"(?<![0-9A-Za-z])({re.escape(prefix)}_([0-9A-Za-z]{{16}})(?:_[0-9A-Za-z]*)?)"
    for string, public_id in list(dict.fromkeys(re.findall(pattern, text)))[:MOST]:
        read = reader.read(string.encode(), trust_crc=True)
        yield public_id, read if isinstance(read, PresentedKey) else None


def _api_keys(text: str, now: datetime) -> Iterator[Match]:
    strings = list(_strings(text, settings.KEY_PREFIX))
    keys = ApiKey.objects.filter(public_id__in={public_id for public_id, _key in strings})
    rows = {key.public_id: key for key in keys.select_related("account").prefetch_related("secrets")}
    for public_id, presented in strings:
        if row := rows.get(public_id):
            yield Match(row, *_proof(presented, row, now))


def _proof(presented: PresentedKey | None, key: ApiKey, now: datetime) -> tuple[Words, bool]:
    secret = next((one for one in key.secrets.all() if presented and _is(presented, one)), None)
    if secret is None:
        return _OTHER, False
    works = key.state == "active" and (secret.expires_at is None or secret.expires_at > now)
    return (_WORKS if works else _ENDED), works


def _is(presented: PresentedKey, secret: KeySecret | Credential) -> bool:
    pepper = next((pepper for pepper in peppers() if pepper.id == secret.pepper), None)
    return pepper is not None and compare_digest(presented.digest_with(pepper).hex(), secret.digest)


def _credentials(text: str, now: datetime) -> Iterator[Match]:
    tables: tuple[tuple[str, Any], ...] = ((MANAGEMENT, ManagementKey), (OPERATOR, OperatorToken))
    for kind, table in tables:
        for public_id, presented in _strings(text, prefix_of(kind)):
            row = table.objects.filter(public_id=public_id).first()
            if row is None:
                continue
            is_it = presented is not None and _is(presented, row)
            works = is_it and row.is_in_force(now)
            yield Match(row, _WORKS if works else _ENDED if is_it else _OTHER, works)


def _imported(text: str, now: datetime) -> Iterator[Match]:
    digests = [digest_imported(text.encode(), pepper).hex() for pepper in peppers()]
    for secret in KeySecret.objects.filter(digest__in=digests, is_imported=True).select_related("key__account"):
        works = secret.key.state == "active" and (secret.expires_at is None or secret.expires_at > now)
        yield Match(secret.key, _WORKS if works else _ENDED, works)


def _ids(text: str) -> list[Match]:
    """Keys by their public ids alone, as logs and answers of the gate name them."""
    words = re.findall(r"(?<![0-9A-Za-z])[0-9A-Za-z]{16}(?![0-9A-Za-z])", text)
    keys = ApiKey.objects.filter(public_id__in=words[:100]).select_related("account")
    return [Match(key, _ONLY_ID, False) for key in keys]


_KINDS: dict[type, Words] = {
    ApiKey: gettext_lazy("API key"),
    ManagementKey: gettext_lazy("management key"),
    OperatorToken: gettext_lazy("operator token"),
}


def _shown(request: HttpRequest, match: Match) -> FoundKey:
    row, site = match.row, admin.site
    opts, page = row._meta, site.get_model_admin(type(row))
    name = f"{site.name}:{opts.app_label}_{opts.model_name}"
    may_revoke = row.revoked_at is None and _may_revoke(request, page, row)
    return FoundKey(
        row,
        _KINDS[type(row)],
        match.words,
        match.works,
        reverse(f"{name}_change", args=(row.pk,)) if page.has_view_permission(request, row) else "",
        reverse(f"{name}_revoke", args=(row.pk,)) if may_revoke else None,
    )


def _may_revoke(request: HttpRequest, page: Any, row: ApiKey | Credential) -> bool:
    if isinstance(row, ApiKey):
        return bool(page.has_change_permission(request, row))
    return bool(page.has_add_permission(request) and page.may_revoke(request, row))
