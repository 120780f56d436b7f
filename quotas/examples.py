"""A model's example: one call that works and what it returns. An operator writes it, and customers start from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
WITHOUT_BODY = ("GET", "DELETE")
FIELDS = ("method", "path", "body", "answer")
MOST_BYTES = 8192  # as JSON, so that a page of many models stays small

_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,=:@-]*)*(\?[A-Za-z0-9._~!$&'()*+,=:@/?-]*)?")


@dataclass(frozen=True, slots=True)
class ModelExample:
    """`path` continues the model's own: /ner below /en_core_web_sm. `answer` is text, or what JSON represents."""

    method: str = "GET"
    path: str = "/"
    body: Any = None
    answer: Any = None

    @classmethod
    def read(cls, stored: Mapping[str, Any] | None) -> ModelExample | None:
        """The example as it is stored with a model; None where there is none."""
        if not stored:
            return None
        default = "POST" if stored.get("body") is not None else "GET"
        return cls(stored.get("method", default), stored.get("path", "/"), stored.get("body"), stored.get("answer"))

    @property
    def body_text(self) -> str:
        return "" if self.body is None else as_text(self.body)

    @property
    def answer_text(self) -> str:
        return "" if self.answer is None else as_text(self.answer)


def as_text(value: Any) -> str:
    """JSON as people read it; text stays as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def faults_of_example(raw: Any) -> Iterator[str]:
    """What is wrong with an example, each as a sentence that names its field."""
    if not isinstance(raw, dict):
        yield "write an object with method, path, body and answer"
        return
    for name in raw:
        if name not in FIELDS:
            yield f"there is no field {name!r}; write method, path, body or answer"
    method, path = raw.get("method", "GET"), raw.get("path", "/")
    if method not in METHODS:
        yield f"method = {method!r} is not one of {', '.join(METHODS)}"
    elif method in WITHOUT_BODY and "method" in raw and raw.get("body") is not None:
        yield f"a {method} has no body; write another method, or leave the body out"
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        yield f"path = {path!r} does not continue the model's path; write one such as '/ner'"
    elif any(segment in (".", "..") for segment in path.partition("?")[0].split("/")) or "//" in path:
        yield f"path = {path!r} has an empty, . or .. segment; the gate refuses such paths"
    try:
        size = len(json.dumps(raw, ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError):  # dates of TOML, lone surrogates, infinity
        yield "body and answer may contain only what JSON can represent; write dates as text"
    else:
        if size > MOST_BYTES:
            yield f"it has {size} bytes as JSON; the maximum is {MOST_BYTES}"


def check_example(raw: Any) -> None:
    """Django's validator of the column."""
    if faults := list(faults_of_example(raw)):
        raise ValidationError([f"The example: {fault}." for fault in faults])
