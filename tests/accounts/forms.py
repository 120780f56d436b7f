"""Forms as a browser would submit them: the values on the page, with some fields filled in."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any


class _Form(HTMLParser):
    """The fields of a page's last form with method POST beside those of its frame, with their values in the HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fields: dict[str, list[str]] = {}
        self._inside = False
        self._select = self._textarea = ""
        self._chosen: list[tuple[bool, str]] = []
        self._is_single = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        at = {name: value or "" for name, value in attrs}
        if tag == "form":
            is_of_the_frame = at.get("id") == "logout-form" or at.get("class") in ("themes", "languages")
            self._inside = at.get("method", "").lower() == "post" and not is_of_the_frame
            if self._inside:
                self.fields = {}
        elif not self._inside or "disabled" in at:
            return
        elif tag == "select":
            self._select, self._chosen, self._is_single = at["name"], [], "multiple" not in at
        elif tag == "option" and self._select:
            self._chosen += [("selected" in at, at["value"])]
        elif tag == "textarea":
            self._textarea = at["name"]
            self.fields[self._textarea] = [""]
        elif tag == "input" and at.get("name") and _is_sent(at):
            default = "on" if at.get("type") == "checkbox" else ""
            self.fields.setdefault(at["name"], []).append(at.get("value", default))

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.fields[self._textarea][0] += data.removeprefix("\n").removeprefix("\r\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False
        elif tag == "select" and self._select:
            selected = [value for is_selected, value in self._chosen if is_selected]
            # A browser selects the first of a list that lets choose one.
            first = [value for _, value in self._chosen[:1]] if self._is_single else []
            if selected or first:
                self.fields[self._select] = selected or first
            self._select = ""
        elif tag == "textarea":
            self._textarea = ""


def _is_sent(at: dict[str, str]) -> bool:
    kind = at.get("type")
    return "checked" in at if kind in ("checkbox", "radio") else kind not in ("submit", "button")


def send(client: Any, url: str, **filled: Any) -> Any:
    """Open the page, fill in its form and submit it. A field set to None is left out."""
    page = client.get(url)
    assert page.status_code == 200, (url, page.status_code, page.headers)
    return client.post(url, posted(page, **filled))


def complaints(page: Any) -> list[str]:
    """The error messages on a page."""
    lists = re.findall(r'<ul class="errorlist.*?</ul>', page.content.decode(), re.DOTALL)
    return [unescape(re.sub(r"<.*?>", " ", text)).strip() for text in lists]


def posted(page: Any, **filled: Any) -> dict[str, Any]:
    """The fields that a browser would submit from this page."""
    data: dict[str, Any] = {**_Form(page.content.decode()).fields, **filled}
    return {name: value for name, value in data.items() if value is not None}
