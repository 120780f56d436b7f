"""A router's rule, parsed to find out which paths it may match.

https://doc.traefik.io/traefik/reference/routing-configuration/http/routing/rules-and-priority/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

# A matcher's possible results for a path: (may be true, may be false). Hosts and headers are unknown.
Chances = tuple[bool, bool]
UNKNOWN: Chances = (True, True)

_TOKEN = re.compile(r"\s*(?:(&&|\|\||[!(),])|([A-Za-z]+)|`([^`]*)`|\"((?:[^\"\\]|\\.)*)\")")
_DEEPEST = 50


class UnreadableRule(ValueError):
    """The text does not follow the syntax of Traefik 3's rules."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """A matcher such as `PathPrefix(`/m/`)`. The name is in lower case; any one of several words may match."""

    name: str
    words: tuple[str, ...]

    def chances(self, path: str) -> Chances:
        test = _TESTS.get(self.name)
        if test is None:
            return UNKNOWN
        try:
            found = any(test(path, word) for word in self.words)
        except re.error:  # Go's syntax has features that Python's lacks
            return UNKNOWN
        return found, not found


@dataclass(frozen=True, slots=True)
class Not:
    inner: Node

    def chances(self, path: str) -> Chances:
        may, may_not = self.inner.chances(path)
        return may_not, may


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple[Node, ...]

    def chances(self, path: str) -> Chances:
        found = [part.chances(path) for part in self.parts]
        return all(may for may, _ in found), any(may_not for _, may_not in found)


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Node, ...]

    def chances(self, path: str) -> Chances:
        found = [part.chances(path) for part in self.parts]
        return any(may for may, _ in found), all(may_not for _, may_not in found)


Node = Matcher | Not | AllOf | AnyOf

_TESTS: dict[str, Callable[[str, str], bool]] = {
    "path": lambda path, word: path == word,
    "pathprefix": lambda path, word: path.startswith(word),
    "pathregexp": lambda path, word: re.search(word, path) is not None,
}


@dataclass(frozen=True, slots=True)
class RouterRule:
    """`root` is None for a rule that we cannot parse, which may match anything."""

    text: str
    root: Node | None

    def may_match(self, path: str) -> bool:
        """Can a request to this path match, with some host and some headers?"""
        return self.root is None or self.root.chances(path)[0]

    def prefixes(self) -> tuple[str, ...]:
        """The paths in the rule, each once and without a trailing slash."""
        words = [w for m in _matchers(self.root) if m.name in ("path", "pathprefix") for w in m.words]
        return tuple(dict.fromkeys(word.rstrip("/") for word in words))

    def hosts(self) -> frozenset[str]:
        """The hosts in the rule; empty means any host."""
        return frozenset(w.lower() for m in _matchers(self.root) if m.name == "host" for w in m.words)


@cache
def read_rule(text: str) -> RouterRule:
    try:
        tokens = _tokens(text)
        root, rest = _either(tokens, 0)
        if rest != len(tokens):
            raise UnreadableRule(text)
    except (UnreadableRule, IndexError):
        return RouterRule(text, None)
    return RouterRule(text, root)


Token = tuple[str, str]  # kind (operator, name, word) and text


def _tokens(text: str) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            raise UnreadableRule(text)
        operator, name, raw, quoted = found.groups()
        if operator is not None:
            tokens.append(("operator", operator))
        elif name is not None:
            tokens.append(("name", name.lower()))
        else:
            tokens.append(("word", raw if raw is not None else re.sub(r"\\(.)", r"\1", quoted)))
        at = found.end()
    return tokens


def _either(tokens: list[Token], at: int, depth: int = 0) -> tuple[Node, int]:
    parts, at = _separated(tokens, at, "||", lambda i: _both(tokens, i, depth))
    return (parts[0] if len(parts) == 1 else AnyOf(parts)), at


def _both(tokens: list[Token], at: int, depth: int) -> tuple[Node, int]:
    parts, at = _separated(tokens, at, "&&", lambda i: _one(tokens, i, depth))
    return (parts[0] if len(parts) == 1 else AllOf(parts)), at


def _separated(
    tokens: list[Token], at: int, operator: str, read: Callable[[int], tuple[Node, int]]
) -> tuple[tuple[Node, ...], int]:
    part, at = read(at)
    parts = [part]
    while at < len(tokens) and tokens[at] == ("operator", operator):
        part, at = read(at + 1)
        parts.append(part)
    return tuple(parts), at


def _one(tokens: list[Token], at: int, depth: int) -> tuple[Node, int]:
    if depth > _DEEPEST:
        raise UnreadableRule("too deep")
    kind, text = tokens[at]
    if (kind, text) == ("operator", "!"):
        inner, at = _one(tokens, at + 1, depth + 1)
        return Not(inner), at
    if (kind, text) == ("operator", "("):
        inner, at = _either(tokens, at + 1, depth + 1)
        return inner, _past(tokens, at, ")")
    if kind != "name":
        raise UnreadableRule(text)
    at = _past(tokens, at + 1, "(")
    words = []
    while tokens[at] != ("operator", ")"):
        kind, word = tokens[at]
        if kind != "word":
            raise UnreadableRule(word)
        words.append(word)
        at = at + 1 if tokens[at + 1] == ("operator", ")") else _past(tokens, at + 1, ",")
    return Matcher(text, tuple(words)), at + 1


def _past(tokens: list[Token], at: int, operator: str) -> int:
    if tokens[at] != ("operator", operator):
        raise UnreadableRule(tokens[at][1])
    return at + 1


def _matchers(node: Node | None) -> Iterator[Matcher]:
    """All matchers except negated ones."""
    match node:
        case Matcher():
            yield node
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from _matchers(part)
