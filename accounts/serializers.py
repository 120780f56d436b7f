"""Keys in the REST API: what comes in, checked field by field, and what goes out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.utils import timezone
from rest_framework import serializers

from accounts.models import ApiKey, small_object
from accounts.services import METHODS
from quotas import limits, rules
from quotas.limits import EVERY_MODEL, Limit

if TYPE_CHECKING:  # generic in the stubs alone
    AnySerializer = serializers.Serializer[Any]
else:
    AnySerializer = serializers.Serializer

MOST_LIMITS = MOST_MODELS = 100
MOST_NETWORKS = 100


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


class Whole(serializers.IntegerField):
    """A JSON number without a fraction."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return int(super().to_internal_value(data))


class Moment(serializers.DateTimeField):
    """An RFC 3339 time; without an offset nobody knows when it is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_timezone=UTC, **kwargs)

    def enforce_timezone(self, value: datetime) -> datetime:
        if isinstance(self.parent, Strict) and timezone.is_naive(value):
            raise serializers.ValidationError("Write the offset too, such as 2030-01-31T12:00:00Z.")
        return super().enforce_timezone(value)


class Metadata(serializers.JSONField):
    """An object of at most 8 KB that every database can keep."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            small_object(data)
        except ValidationError as error:
            raise serializers.ValidationError(error.messages) from error
        return super().to_internal_value(data)


class LimitIn(Strict):
    name = Text(max_length=63)
    amount = Whole(min_value=1)
    window = serializers.ChoiceField(choices=limits.WINDOWS)
    unit = serializers.ChoiceField(choices=limits.UNITS, default="requests")
    model = Text(max_length=63, default=EVERY_MODEL)
    burst = Whole(min_value=1, allow_null=True, default=None)

    def validate(self, attrs: dict[str, Any]) -> Any:
        limit = Limit(scope="key", **attrs)
        faults = dict(rules.out_of_range(limit))
        if faults:
            raise serializers.ValidationError(faults)
        return limit


class KeyIn(Strict):
    """What a key is asked for with."""

    account = Text(required=False)
    name = Text(max_length=200)
    models = serializers.ListField(child=Text(), allow_null=True, default=None, max_length=MOST_MODELS)
    networks = serializers.ListField(child=Text(), default=list, max_length=MOST_NETWORKS)
    methods = serializers.ListField(child=serializers.ChoiceField(choices=METHODS), default=list, max_length=20)
    limits = serializers.ListField(child=LimitIn(), default=list, max_length=MOST_LIMITS)
    expires_at = Moment(allow_null=True, default=None)
    metadata = Metadata(default=dict)


class LimitOut(AnySerializer):
    name = serializers.CharField()
    amount = serializers.IntegerField()
    window = serializers.CharField()
    unit = serializers.CharField()
    model = serializers.SerializerMethodField()
    burst = serializers.IntegerField()

    def get_model(self, row: Any) -> str:
        return row.model.slug if row.model else EVERY_MODEL


class KeyOut(AnySerializer):
    """A key as its people see it. Reads what was fetched with it and asks for nothing more."""

    id = serializers.CharField(source="public_id")
    account = serializers.CharField(source="account.public_id")
    name = serializers.CharField()
    start = serializers.SerializerMethodField()
    models = serializers.JSONField(source="narrowed_to")
    networks = serializers.JSONField()
    methods = serializers.JSONField()
    limits = LimitOut(many=True, source="limits.all")
    expires_at = Moment()
    revoked_at = Moment()
    created_at = Moment()
    last_used_at = serializers.SerializerMethodField()
    metadata = serializers.JSONField()

    def get_start(self, key: ApiKey) -> str:
        return next((secret.start for secret in key.secrets.all()), "")

    def get_last_used_at(self, key: ApiKey) -> Any:
        used = [secret.last_used_at for secret in key.secrets.all() if secret.last_used_at]
        return Moment().to_representation(max(used)) if used else None
