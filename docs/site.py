"""Hooks of `make docs`: pages at the top of the checkout, links to files of the repository, and diagrams.

The pages are written for readers of the repository, and the site shows the same files. README.md is its start page, a
link to a file that is not a page leads to that file's text, and every diagram must parse.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import mermaidx
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
AT_THE_TOP = {"README.md": "index.md", "CHANGELOG.md": "CHANGELOG.md", "CONTRIBUTING.md": "CONTRIBUTING.md"}
AT_THE_TOP |= {"SECURITY.md": "SECURITY.md"}

LINK = re.compile(r"""(\]\(|\bsrc(?:set)?=")([^)#\s"]+)((?:#[^)\s]*)?[)"])""")
FENCE = re.compile(r"^( *)```.*?^\1```$", re.M | re.S)
DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.M | re.S)


def on_files(pages: Files, config: MkDocsConfig) -> Files:
    """Add the pages at the top, Mermaid's script, and every file of the repository that a page links to."""
    script = files("mermaidx").joinpath("assets/mermaid.js").read_text(encoding="utf-8")
    pages.append(File.generated(config, "assets/mermaid.js", content=script))
    for source, uri in AT_THE_TOP.items():
        pages.append(File.generated(config, uri, content=(ROOT / source).read_text(encoding="utf-8")))
    for page in list(pages.documentation_pages()):
        for file in linked_files(page):
            if pages.get_file_from_path(shown_at(file)) is None:
                pages.append(File.generated(config, shown_at(file), content=(ROOT / file).read_bytes()))
    return pages


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into links of the site, and parse the diagrams."""
    for diagram in DIAGRAM.findall(markdown):
        try:
            mermaidx.render(diagram).svg()
        except Exception as error:
            raise PluginError(f"{page.file.src_uri}: a diagram does not parse: {error}") from error
    return outside_of_fences(markdown, lambda prose: LINK.sub(lambda link: of_the_site(link, page.file), prose))


def linked_files(page: File) -> set[str]:
    """The files of the repository, other than pages, that a page links to."""
    prose = FENCE.sub("", page.content_string)
    return {target for link in LINK.finditer(prose) if (target := in_repository(link[2], page)) and not is_page(target)}


def of_the_site(link: re.Match[str], page: File) -> str:
    target = in_repository(link[2], page)
    if target is None:
        return link[0]
    uri = uri_of(target) if is_page(target) else shown_at(target)
    return f"{link[1]}{posixpath.relpath(uri, posixpath.dirname(page.src_uri) or '.')}{link[3]}"


def in_repository(target: str, page: File) -> str | None:
    """Where a link leads in the repository; None for an address, and for a missing file, which MkDocs reports."""
    if "://" in target or target.startswith("mailto:"):
        return None
    sources = {uri: source for source, uri in AT_THE_TOP.items()}
    at = sources.get(page.src_uri, f"docs/{page.src_uri}")
    found = posixpath.normpath(posixpath.join(posixpath.dirname(at), target))
    return found if (ROOT / found).is_file() else None


def is_page(file: str) -> bool:
    return file in AT_THE_TOP or (file.startswith("docs/") and file.endswith(".md"))


def uri_of(page: str) -> str:
    return AT_THE_TOP.get(page) or page.removeprefix("docs/")


def shown_at(file: str) -> str:
    """As .txt, because browsers show that and offer to save other types."""
    return f"source/{file}.txt"


def outside_of_fences(markdown: str, change: Callable[[str], str]) -> str:
    parts, at = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [change(markdown[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join([*parts, change(markdown[at:])])
