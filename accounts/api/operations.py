"""Every call of the API, as one table: who may make it, what it takes and what it answers. The schema is made from
this and the docstrings of the views; tests compare it with what the views do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rest_framework import serializers

from accounts.api import keys
from accounts.api.access import Action
from accounts.api.fields import AnySerializer

Form = type[serializers.Serializer[Any]]

TAGS = {
    "keys": "Keys for models: issued, narrowed, rotated, revoked.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call. What an error can be, and who may make it, follows from this."""

    id: str
    tag: str
    who: tuple[Action, ...]
    query: Form | None = None
    body: Form | None = None
    status: int = 200
    answer: Form | None = None  # None: an answer without a body
    is_list: bool = False  # a page of answers
    may_be_pending: bool = False  # saved and not known to the gate yet: 202
    may_conflict: bool = False
    once: bool = False  # takes an Idempotency-Key
    also: Mapping[int, str] | None = None  # other statuses with the same body, each with its words
    also_as: Mapping[str, str] | None = None  # other media types of the same answer, each with an example
    links: Mapping[str, str] | None = None  # other operations → the parameter that takes this answer's `id`
    notes: str = ""


class IssuedKey(keys.KeyOut):
    """A key with its text, which only this answer has."""

    key = serializers.CharField(help_text="The key's text: store it now, it is in no other answer.")


class PendingChange(AnySerializer):
    """What a change that is saved and still on its way to the gate was made to."""

    id = serializers.CharField()


_OF_A_KEY = {
    "get_key": "id", "change_key": "id", "rotate_key": "id", "end_rotation": "id", "revoke_key": "id",
}  # fmt: skip

OPERATIONS: Mapping[Callable[..., Any], Operation] = {
    keys.Keys.get: Operation(
        id="list_keys", tag="keys", who=(Action.READ_KEYS,), query=keys.KeyQuery, answer=keys.KeyOut, is_list=True
    ),
    keys.Keys.post: Operation(
        id="issue_key", tag="keys", who=(Action.ISSUE_KEY,), body=keys.KeyIn, status=201, answer=IssuedKey,
        once=True, may_be_pending=True, may_conflict=True, links=_OF_A_KEY,
    ),
    keys.Key.get: Operation(id="get_key", tag="keys", who=(Action.READ_KEYS,), answer=keys.KeyOut),
    keys.Key.patch: Operation(
        id="change_key", tag="keys", who=(Action.CHANGE_KEY,), body=keys.KeyChange, answer=keys.KeyOut,
        may_be_pending=True, may_conflict=True,
    ),
    keys.Key.delete: Operation(
        id="revoke_key", tag="keys", who=(Action.CHANGE_KEY,), status=204, may_be_pending=True, may_conflict=True
    ),
    keys.Rotate.post: Operation(
        id="rotate_key", tag="keys", who=(Action.CHANGE_KEY,), body=keys.RotateIn, answer=IssuedKey, once=True,
        may_be_pending=True, may_conflict=True, links=_OF_A_KEY,
    ),
    keys.EndRotation.post: Operation(
        id="end_rotation", tag="keys", who=(Action.CHANGE_KEY,), answer=keys.KeyOut, may_be_pending=True,
        may_conflict=True,
    ),
}  # fmt: skip


def operation_of(view: type, method: str) -> Operation | None:
    """What the table says of a view's method; an inherited one counts as the parent's."""
    return OPERATIONS.get(getattr(view, method.lower()))
