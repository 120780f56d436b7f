"""The Content-Security-Policy: no page contains what it forbids, which a browser would silently block."""

from __future__ import annotations

from html.parser import HTMLParser

from django.contrib import admin
from django.urls import NoReverseMatch, reverse

from accounts.services.credentials import make_management_key, make_operator_token
from tests.conftest import ACTOR


class Inline(HTMLParser):
    """Collects what a policy without 'unsafe-inline' blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._in = tag if tag == "style" or (tag == "script" and not self._is_allowed(given)) else ""
        self.found += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        self.found += [f"{tag} javascript:" for value in given.values() if (value or "").startswith("javascript:")]

    def handle_data(self, data: str) -> None:
        if self._in and data.strip():
            self.found.append(f"{self._in} {data.strip()[:40]}")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    @staticmethod
    def _is_allowed(given: dict[str, str | None]) -> bool:
        return "src" in given or given.get("type") == "application/json"


def inline_in(html: str) -> list[str]:
    parser = Inline()
    parser.feed(html)
    return parser.found


def test_the_check_finds_what_the_policy_would_block():
    assert inline_in("<p style='x'></p><script>go()</script><a onclick=x href='javascript:y'></a><style>a{}</style>")
    assert not inline_in("<script src=x></script><script type='application/json'>{}</script>")


def test_no_page_of_the_admin_has_anything_inline(operator, issued, account):
    make_management_key(account, name="m", scopes=["keys:read"], actor=ACTOR)
    make_operator_token(name="o", scopes=["keys:write"], actor=ACTOR)
    seen = 0
    paths = [reverse("admin:index")]
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        paths += [reverse(f"{name}_changelist"), reverse(f"{name}_add")]
        row = model._default_manager.first()
        if row is not None:
            paths += [reverse(f"{name}_{page}", args=[row.pk]) for page in ("change", "delete", "history")]
        for page in ("issue", "rotate", "revoke"):
            try:
                paths.append(reverse(f"{name}_{page}", args=[row.pk] if row else []))
            except NoReverseMatch:
                continue
    for path in paths:
        response = operator.get(path)
        if response.status_code == 200:
            seen += 1
            assert not inline_in(response.content.decode()), path
            assert "unsafe" not in response["Content-Security-Policy"]
    assert seen > 20, "too few pages were looked at"
