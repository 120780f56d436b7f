"""The addresses below /api/v1/."""

from __future__ import annotations

from django.urls import path, re_path, register_converter
from django.urls.converters import StringConverter

from accounts.api.docs import docs, schema
from accounts.api.keys import EndRotation, Key, Keys, Rotate
from accounts.api.resource import Nothing


class KeyId(StringConverter):
    regex = "[0-9A-Za-z]{16}"


class AccountId(StringConverter):
    regex = "[0-9A-Za-z]{8}"


register_converter(KeyId, "key_id")
register_converter(AccountId, "account_id")

urlpatterns = [
    path("keys/", Keys.as_view(), name="keys"),
    path("keys/<key_id:id>/", Key.as_view(), name="key"),
    path("keys/<key_id:id>/rotate/", Rotate.as_view(), name="key-rotate"),
    path("keys/<key_id:id>/end-rotation/", EndRotation.as_view(), name="key-end-rotation"),
    path("schema/", schema, name="schema"),
    path("docs/", docs, name="docs"),
    re_path(r"", Nothing.as_view()),
]
