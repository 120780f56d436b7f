"""The catalogue file: models and plans as an operator writes them, read so that each mistake has its line."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quotas import limits, rules
from quotas.examples import faults_of_example
from quotas.limits import EVERY_MODEL, Limit
from quotas.models import MAX_KEYS, MOST_MAX_KEYS, SEGMENT, SLUG
from runtime.labels import ONE_LINE, odd_character

MOST_TITLE = 200

_TOP = ("default_plan", "models", "plans")
_MODEL = ("title", "cost", "path", "enabled", "auto_include", "speaks", "example")
_PROTOCOLS = ("", "openai")
_PLAN = ("title", "models", "auto_include", "max_keys", "offered", "limits")
_EXAMPLES = {"name": '"minute"', "per": '"key" or "account"', "amount": "60", "window": '"minute"'}
_LIMIT = ("name", "per", "amount", "window", "unit", "model", "burst", "shadow")


class BadCatalogue(ValueError):
    """The faults, one per line: file, line number, and what to write instead."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Source:
    """The file's name and lines, to locate a fault."""

    name: str
    lines: tuple[str, ...]

    def fault(self, where: str, text: str, *near: str) -> str:
        """A fault at the line of a table's header, or of the first word of `near` found below it."""
        return f"{self.name}:{self._line(where, near)}: {f'[{where}] ' if where else ''}{text}"

    def _line(self, where: str, near: tuple[str, ...]) -> int:
        header = self._header(where)
        for word in near:
            pattern = re.compile(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])")
            for i in range(header, len(self.lines)):
                if where and i > header and self._is_another_header(self.lines[i], where):
                    break
                if word and pattern.search(self.lines[i].split("#")[0]):
                    return i + 1
        return header + 1

    def _header(self, where: str) -> int:
        """The line where a table begins: with its own header, or as a field of the table above it."""
        above, _, name = where.partition(".")
        begins = (f"[{where}]", f"{where} ", f"{where}=", f"{where}.", f"[[{where}.", f"[{where}.")
        plain = [_bare(line) for line in self.lines]
        own = next((i for i, line in enumerate(plain) if line.startswith(begins)), None)
        if own is not None or not name:
            return own or 0
        first = next(
            (i for i, line in enumerate(plain) if line.startswith((f"[{above}]", f"{above} ", f"{above}="))), 0
        )
        return next(
            (i for i in range(first, len(plain)) if plain[i].startswith((f"{name} ", f"{name}=", f"{name}."))), first
        )

    @staticmethod
    def _is_another_header(line: str, where: str) -> bool:
        bare = _bare(line)
        return bare.startswith("[") and "=" not in bare and not bare.startswith((f"[[{where}.", f"[{where}."))


def _bare(line: str) -> str:
    return line.strip().replace('"', "").replace("'", "")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    slug: str
    path: str
    title: str
    cost: int
    enabled: bool
    auto_include: bool = True  # in plans for every model, even if no plan names it
    speaks: str = ""  # "openai": clients of OpenAI's API can call it
    example: dict[str, Any] | None = None  # quotas/examples.py


@dataclass(frozen=True, slots=True)
class PlanEntry:
    name: str
    title: str
    models: tuple[str, ...]
    limits: tuple[Limit, ...]
    auto_include: bool = False  # for a plan of every model: include new ones too
    max_keys: int = MAX_KEYS  # keys an account may have, neither revoked nor expired
    offered: bool = False  # customers on other plans see it


@dataclass(frozen=True, slots=True)
class CatalogueFile:
    """A consistent catalogue."""

    default_plan: str | None  # None: not in the file; '': no default plan
    models: Mapping[str, ModelEntry]
    plans: Mapping[str, PlanEntry]
    source: Source

    def warnings(self) -> Iterator[str]:
        """Things that are allowed but probably not intended."""
        for plan in self.plans.values():
            for limit, text in rules.multiplied(plan.limits):
                yield self.source.fault(f"plans.{plan.name}", text, limit.name)


def read_catalogue_file(path: Path) -> CatalogueFile:
    """Parse and check a catalogue file. Raises BadCatalogue with all faults, or OSError if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors write a byte order mark
        return _CatalogueReader(Source(str(path), tuple(text.splitlines())), tomllib.loads(text)).read()
    except tomllib.TOMLDecodeError as error:
        what, _, at = str(error).partition(" (at ")
        line = re.match(r"line (\d+)", at)
        number = int(line[1]) if line else max(1, len(text.splitlines()))
        raise BadCatalogue([f"{path}:{number}: this is not valid TOML: {what}"]) from error
    except UnicodeDecodeError as error:
        raise BadCatalogue([f"{path}: this is not UTF-8 text: save it as UTF-8"]) from error


class _CatalogueReader:
    """Collects all faults, so that one run reports them all."""

    def __init__(self, source: Source, raw: dict[str, Any]) -> None:
        self._source, self._raw = source, raw
        self._faults: list[str] = []

    def read(self) -> CatalogueFile:
        if not self._raw:
            self._fault("", "the file is empty: write at least one [models.NAME]")
        self._only(self._raw, _TOP, "", "the catalogue")
        models = {slug: self._model(slug, raw) for slug, raw in self._table("models").items()}
        self._paths_apart(models)
        plans = {name: self._plan(name, raw, models) for name, raw in self._table("plans").items()}
        default = self._raw.get("default_plan")
        if default not in [None, "", *plans]:
            self._fault(
                "", f"default_plan = {default!r} is not a plan in this file; {_instead(default, plans)}", "default_plan"
            )
        if self._faults:
            raise BadCatalogue(self._faults)
        return CatalogueFile(default, models, plans, self._source)

    def _table(self, name: str) -> dict[str, dict[str, Any]]:
        table = self._raw.get(name, {})
        if not isinstance(table, dict) or not all(isinstance(value, dict) for value in table.values()):
            self._fault(name, f"write [{name}.NAME] and its fields below")
            return {}
        return table

    def _model(self, slug: str, raw: dict[str, Any]) -> ModelEntry:
        where = f"models.{slug}"
        self._only(raw, _MODEL, where, f"the model {slug}")
        named_well = self._slug(slug, where)
        path = self._value(raw, "path", str, f"/{slug}", where)
        if (named_well or "path" in raw) and not re.fullmatch(rf"(/{SEGMENT}){{1,8}}", path):
            self._fault(
                where,
                f"path = {path!r} is not a clean path prefix; write one such as '/{slug}' or '/v1/{slug}'",
                "path",
            )
        cost = self._value(raw, "cost", int, 1, where)
        if not 1 <= cost <= limits.MOST_COST:
            self._fault(where, f"cost = {cost} is not between 1 and {limits.MOST_COST}", "cost")
        return ModelEntry(
            slug,
            path,
            self._title(raw, where),
            cost,
            self._value(raw, "enabled", bool, True, where),
            self._value(raw, "auto_include", bool, True, where),
            self._speaks(raw, where),
            self._example(raw, where),
        )

    def _speaks(self, raw: dict[str, Any], where: str) -> str:
        protocol: str = self._value(raw, "speaks", str, "", where)
        if protocol not in _PROTOCOLS:
            self._fault(where, f'speaks = {protocol!r}; write speaks = "openai", or leave it out', "speaks")
        return protocol

    def _example(self, raw: dict[str, Any], where: str) -> dict[str, Any] | None:
        if "example" not in raw:
            return None
        for fault in faults_of_example(raw["example"]):
            self._fault(where, f"example: {fault}", "example")
        return raw["example"] if isinstance(raw["example"], dict) else None

    def _paths_apart(self, models: Mapping[str, ModelEntry]) -> None:
        for _, other, text in rules.conflicting_paths({slug: model.path for slug, model in models.items()}):
            self._fault(f"models.{other}", f"{text}: write another path", "path")

    def _plan(self, name: str, raw: dict[str, Any], models: Mapping[str, ModelEntry]) -> PlanEntry:
        where = f"plans.{name}"
        self._only(raw, _PLAN, where, f"the plan {name}")
        self._slug(name, where)
        included = raw.get("models", [])
        if not isinstance(included, list) or not all(isinstance(slug, str) for slug in included):
            self._fault(where, 'models is a list of names, or ["*"] for all', "models")
            included = []
        for slug in included:
            if slug not in models and slug != EVERY_MODEL:
                self._fault(where, f"there is no model {slug!r}; {_instead(slug, models)}", "models")
        if EVERY_MODEL in included and len(included) > 1:
            self._fault(where, '"*" already means every model: write models = ["*"]', "models")
        entries = raw.get("limits", [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            self._fault(where, "limits is a list of { name, per, amount, window }", "limits")
            entries = []
        found = [limit for entry in entries if (limit := self._limit(entry, where, models)) is not None]
        self._once(found, where)
        self._costs_fit(found, included, models, where)
        return PlanEntry(
            name,
            self._title(raw, where),
            tuple(included),
            tuple(found),
            self._auto_include(raw, included, where),
            self._max_keys(raw, where),
            self._value(raw, "offered", bool, False, where),
        )

    def _max_keys(self, raw: dict[str, Any], where: str) -> int:
        value: int = self._value(raw, "max_keys", int, MAX_KEYS, where)
        if not 1 <= value <= MOST_MAX_KEYS:
            self._fault(where, f"max_keys = {value!r} is not a whole number between 1 and {MOST_MAX_KEYS}", "max_keys")
        return value

    def _auto_include(self, raw: dict[str, Any], included: list[str], where: str) -> bool:
        wanted: bool = self._value(raw, "auto_include", bool, False, where)
        if wanted and EVERY_MODEL not in included:
            self._fault(where, 'auto_include needs a plan of every model: write models = ["*"]', "auto_include")
        return wanted

    def _limit(self, raw: dict[str, Any], where: str, models: Mapping[str, ModelEntry]) -> Limit | None:
        name = str(raw.get("name", "?"))
        what = f"the limit {name}"
        before = len(self._faults)
        self._only(raw, _LIMIT, where, what, name)
        for required in ("name", "per", "amount", "window"):
            if required not in raw:
                self._fault(
                    where, f"{what} has no {required}; write {required} = {_EXAMPLES[required]}", name, "limits"
                )
        if isinstance(raw.get("name"), str):
            self._slug(name, where)
        elif "name" in raw:
            self._fault(where, f"a limit's name = {raw['name']!r} is not text in quotes", name)
        self._among(raw, "per", limits.SCOPES, where, name)
        self._among(raw, "window", limits.WINDOWS, where, name)
        self._among(raw, "unit", limits.UNITS, where, name)
        model = raw.get("model", EVERY_MODEL)
        if model != EVERY_MODEL and model not in list(models):
            self._fault(where, f"{what}: there is no model {model!r}; {_instead(model, models)}", name)
        smoothed = raw.get("window") in list(limits.SMOOTHED)
        self._whole(raw, "amount", limits.MOST_SMOOTHED if smoothed else limits.MOST_CALENDAR, where, name)
        if "burst" in raw and raw.get("window") in limits.CALENDAR:
            self._fault(where, f"{what}: a {raw.get('window')} limit is a quota and has no burst; leave it out", name)
        elif "burst" in raw:
            self._whole(raw, "burst", limits.MOST_BURST, where, name)
        if not isinstance(raw.get("shadow", False), bool):
            self._fault(where, f"{what}: shadow is true or false", name)
        if len(self._faults) > before:
            return None
        return Limit(
            name=name,
            scope=raw["per"],
            amount=raw["amount"],
            window=raw["window"],
            unit=raw.get("unit", "requests"),
            model=model,
            burst=raw.get("burst"),
            shadow=raw.get("shadow", False),
        )

    def _once(self, found: list[Limit], where: str) -> None:
        for limit, text in rules.doubles(found):
            self._fault(where, text, limit.name)

    def _costs_fit(self, found: list[Limit], included: list[str], models: Mapping[str, ModelEntry], where: str) -> None:
        costs = {m.slug: m.cost for m in models.values() if m.slug in included or EVERY_MODEL in included}
        for limit, text in rules.costs_that_never_fit(found, costs):
            self._fault(where, text, limit.name)

    def _only(self, raw: Mapping[str, Any], known: tuple[str, ...], where: str, what: str, near: str = "") -> None:
        for name in raw:
            if name not in known:
                self._fault(where, f"{what} has no field {name!r}; {_instead(name, known)}", name, near)

    def _slug(self, value: str, where: str) -> bool:
        if re.fullmatch(SLUG, value):
            return True
        self._fault(
            where,
            f"{value!r} is not a valid name: use up to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit",
            value,
        )
        return False

    def _among(self, raw: Mapping[str, Any], field: str, allowed: tuple[str, ...], where: str, name: str) -> None:
        value = raw.get(field, allowed[0])
        if value not in allowed:
            self._fault(where, f"the limit {name}: {field} = {value!r}; write one of: {in_a_row(allowed)}", name)

    def _whole(self, raw: Mapping[str, Any], field: str, most: int, where: str, name: str) -> None:
        value = raw.get(field, 1)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            self._fault(
                where, f"the limit {name}: {field} = {value!r} is not a whole number between 1 and {most}", name
            )

    def _value(self, raw: Mapping[str, Any], field: str, kind: type[Any], default: Any, where: str) -> Any:
        value = raw.get(field, default)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            words = {str: "text in quotes", int: "a whole number", bool: "true or false"}
            self._fault(where, f"{field} = {value!r} is not {words[kind]}", field)
            return default
        return value

    def _title(self, raw: Mapping[str, Any], where: str) -> str:
        title: str = self._value(raw, "title", str, "", where)
        if (odd := odd_character(title)) is not None:
            self._fault(where, f"title = {title!r}: {ONE_LINE.format(code=ord(odd))}", "title")
        if len(title) > MOST_TITLE:
            self._fault(where, f"title has {len(title)} characters; the maximum is {MOST_TITLE}", "title")
        return title

    def _fault(self, where: str, text: str, *near: str) -> None:
        self._faults.append(self._source.fault(where, text, *near))


def in_a_row(names: Any) -> str:
    return ", ".join(names) or "none"


def _instead(word: Any, known: Any) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {in_a_row(known)}"
