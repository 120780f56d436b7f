"""Our own serializer fields, as drf-spectacular is to describe them. Importing this registers them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension

from quotas.usage.reading import GROUPS


class MetadataField(OpenApiSerializerFieldExtension):
    target_class = "api.base.fields.Metadata"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": {}}


class TextListField(OpenApiSerializerFieldExtension):
    target_class = "api.base.fields.TextList"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string"}}


class GroupsField(OpenApiSerializerFieldExtension):
    target_class = "api.usage.Groups"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        one = f"({'|'.join(GROUPS)})"
        return {"type": "string", "pattern": f"^{one}(,{one})*$", "default": "", "examples": ["account,key"]}
