"""Fields of requests and answers: input is taken literally, times are shown in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import ValidationError
from django.utils import timezone
from rest_framework import serializers

from accounts.models import small_object

if TYPE_CHECKING:  # generic only in the stubs
    AnySerializer = serializers.Serializer[Any]
else:
    AnySerializer = serializers.Serializer


class Input(AnySerializer):
    """A request's body or query. Unknown fields are refused: a typo in `expires_at` must not issue a permanent key.

    `example` is shown in the OpenAPI document; a test validates it.
    """

    example: ClassVar[Any] = None

    def to_internal_value(self, data: Any) -> Any:
        unknown = set(data) - set(self.fields) if isinstance(data, dict) else set()
        if unknown:
            known = ", ".join(self.fields)
            raise serializers.ValidationError(
                {str(name)[:100]: f"Unknown field. Known fields: {known}." for name in unknown}
            )
        return super().to_internal_value(data)


class Output(AnySerializer):
    """An object in an answer. `example` has every field."""

    example: ClassVar[Any] = None


class Text(serializers.CharField):
    """A JSON string; other values are not converted to one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class TextList(serializers.JSONField):
    """A list of strings, shown as stored. A class of its own so that the schema can describe the items."""


class Whole(serializers.IntegerField):
    """A JSON number without a fraction."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return int(super().to_internal_value(data))


class WholeText(serializers.IntegerField):
    """A whole number in a query, as plain ASCII digits."""

    def to_internal_value(self, data: Any) -> int:
        if not (isinstance(data, str) and data.isascii() and data.isdigit() and len(data) < 19):
            self.fail("invalid")
        return int(super().to_internal_value(data))


class YesOrNo(serializers.ChoiceField):
    """`true` or `false` in a query."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=("true", "false"), **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        return super().to_internal_value(data) == "true"


class Moment(serializers.DateTimeField):
    """An RFC 3339 time. Input must have an offset: without one it is ambiguous."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_timezone=UTC, **kwargs)

    def enforce_timezone(self, value: datetime) -> datetime:
        if isinstance(self.parent, Input) and timezone.is_naive(value):
            raise serializers.ValidationError("Add the UTC offset, as in 2030-01-31T12:00:00Z.")
        return super().enforce_timezone(value)


class MadeBy(serializers.CharField):
    """Who created something. The query must fetch the row's `created_by` with it."""

    def __init__(self, **kwargs: Any) -> None:
        words = "The person who created it. Null for a program (`made_with`), a command, or a deleted user."
        super().__init__(source="created_by.username", allow_null=True, read_only=True, help_text=words, **kwargs)

    def get_attribute(self, instance: Any) -> Any:
        return instance.created_by.get_username() if instance.created_by else None


class MadeWith(serializers.CharField):
    """The credential that something was created with."""

    def __init__(self, **kwargs: Any) -> None:
        words = "The id of the management key or operator token that it was created with."
        super().__init__(allow_null=True, read_only=True, help_text=words, **kwargs)


class Metadata(serializers.JSONField):
    """A JSON object of at most 8 KB that every supported database can store."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            small_object(data)
        except ValidationError as error:
            raise serializers.ValidationError(error.messages) from error
        return super().to_internal_value(data)
