"""`python -m api.openapi docs` writes docs/openapi.yaml, and the table in docs/access.md."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import django

MARKS = ("<!-- The table is made by `make schema`. -->\n", "<!-- End of the table. -->\n")


def with_table(page: str, table: str) -> str:
    """The page with this table between the marks."""
    begin, end = map(re.escape, MARKS)
    text, count = re.subn(f"(?<={begin}).*(?={end})", lambda _: f"\n{table}\n", page, count=1, flags=re.S)
    assert count == 1, "the page has no place for the table"
    return text


def main(folder: Path) -> None:
    django.setup()
    from api.docs import document
    from api.openapi.who import access_table
    from api.urls import OPERATIONS

    (folder / "openapi.yaml").write_bytes(document("yaml"))
    page = folder / "access.md"
    page.write_text(with_table(page.read_text(encoding="utf-8"), access_table(OPERATIONS.values())), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
