"""Fields of requests and answers: what comes in is taken literally, times go out in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.utils import timezone
from rest_framework import serializers

from accounts.models import small_object

if TYPE_CHECKING:  # generic in the stubs alone
    AnySerializer = serializers.Serializer[Any]
else:
    AnySerializer = serializers.Serializer


class Strict(AnySerializer):
    """Refuses fields that it does not know: a misspelt `expires_at` must not issue a key for ever."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = set(data) - set(self.fields) if isinstance(data, dict) else set()
        if unknown:
            known = ", ".join(self.fields)
            raise serializers.ValidationError(
                {str(name)[:100]: f"There is no such field; there are: {known}." for name in unknown}
            )
        return super().to_internal_value(data)


class Text(serializers.CharField):
    """A JSON string, not something that can be made one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class TextList(serializers.JSONField):
    """A list of strings, shown as it was stored: in the schema it says what is in it."""


class Whole(serializers.IntegerField):
    """A JSON number without a fraction."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return int(super().to_internal_value(data))


class WholeText(serializers.IntegerField):
    """A whole number in a query, in plain digits."""

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
    """An RFC 3339 time; without an offset nobody knows when it is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_timezone=UTC, **kwargs)

    def enforce_timezone(self, value: datetime) -> datetime:
        if isinstance(self.parent, Strict) and timezone.is_naive(value):
            raise serializers.ValidationError("Write the offset too, such as 2030-01-31T12:00:00Z.")
        return super().enforce_timezone(value)


class MadeBy(serializers.CharField):
    """The name of the person who made something. The row's `created_by` is fetched with it."""

    def __init__(self, **kwargs: Any) -> None:
        words = "The person who made it; null: a program (`made_with`), a command, or somebody who is gone."
        super().__init__(source="created_by.username", allow_null=True, read_only=True, help_text=words, **kwargs)

    def get_attribute(self, instance: Any) -> Any:
        return instance.created_by.get_username() if instance.created_by else None


class MadeWith(serializers.CharField):
    """The credential that something was made with."""

    def __init__(self, **kwargs: Any) -> None:
        words = "The id of the management key or operator token that it was made with."
        super().__init__(allow_null=True, read_only=True, help_text=words, **kwargs)


class Metadata(serializers.JSONField):
    """An object of at most 8 KB that every database can keep."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            small_object(data)
        except ValidationError as error:
            raise serializers.ValidationError(error.messages) from error
        return super().to_internal_value(data)
