"""A call of the API, described where it is implemented.

`@Operation(...)` stands above a view's method and `@at(...)` above its class. The addresses (api/urls.py), the OpenAPI
document (api/openapi) and the table in docs/access.md are made from them. Tests compare them with what the views do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from rest_framework import serializers

from accounts.authority import Action
from api.base.addresses import EXAMPLE_KEY
from api.base.fields import Output

SerializerClass = type[serializers.Serializer[Any]]
Method = TypeVar("Method", bound=Callable[..., Any])
ViewClass = TypeVar("ViewClass", bound=type)

VERBS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call. The view reads its forms and its action from here; the errors it may answer follow from this too."""

    id: str
    tag: str
    # The first admits the caller. The others depend on what is sent; the method checks them.
    who: tuple[Action, ...]
    query: SerializerClass | None = None
    body: SerializerClass | None = None
    uploads: Mapping[str, dict[str, Any]] | None = None  # instead of `body`: media type → schema and example
    is_partial: bool = False  # fields that the body leaves out stay unchanged
    status: int = 200
    answer: SerializerClass | None = None  # None: an answer without a body
    is_list: bool = False  # a page of answers
    may_be_pending: bool = False  # 202: saved, and not yet known to the gate
    may_conflict: bool = False
    once: bool = False  # takes an Idempotency-Key
    also: Mapping[int, str] | None = None  # other statuses with the same body → their descriptions
    also_as: Mapping[str, str] | None = None  # other media types of the same answer → an example
    links: Mapping[str, str] | None = None  # other operations → their parameter that takes this answer's `id`
    done: str = ""  # describes the answer, where its status alone does not
    headers: Mapping[str, str] | None = None  # of the answer → their descriptions
    notes: str = ""

    def __call__(self, method: Method) -> Method:
        """Describe this method."""
        method.operation = self  # type: ignore[attr-defined]
        return method


@dataclass(frozen=True, slots=True)
class Route:
    """An address below /api/v1/, as Django's `path` takes it."""

    path: str
    name: str


def at(path: str, *, name: str) -> Callable[[ViewClass], ViewClass]:
    """Serve a view at this address."""

    def routed(view: ViewClass) -> ViewClass:
        view.route = Route(path, name)  # type: ignore[attr-defined]
        return view

    return routed


def route_of(view: type) -> Route | None:
    """The view's own address; an inherited one belongs to its parent."""
    return vars(view).get("route")


def routed_views(module: ModuleType) -> Iterator[type[Any]]:
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == module.__name__ and route_of(value):
            yield value


def operation_of(view: type, verb: str) -> Operation | None:
    """What describes the view's method; HEAD is GET."""
    return getattr(getattr(view, "get" if verb == "HEAD" else verb.lower(), None), "operation", None)


class PendingChange(Output):
    """The object of a change that is saved and has not reached the gate yet."""

    example = {"id": EXAMPLE_KEY}

    id = serializers.CharField()
