"""The variable parts of an address below /api/v1/, each with an example for the OpenAPI document."""

from __future__ import annotations

from typing import ClassVar

from django.urls import register_converter
from django.urls.converters import StringConverter

from accounts.models import EXTERNAL_ID

EXAMPLE_KEY, EXAMPLE_ACCOUNT = "T5c6tKxKnroPXQdG", "T5c6tKxK"


class AddressPart(StringConverter):
    example: ClassVar[str]
    pattern: ClassVar[str]  # in the document: the `regex` of the address, or something narrower that the view checks


class PublicId(AddressPart):
    regex, example = "[0-9A-Za-z]{16}", EXAMPLE_KEY
    pattern = f"^{regex}$"


class AccountId(AddressPart):
    regex, example = "[0-9A-Za-z]{8}", EXAMPLE_ACCOUNT
    pattern = f"^{regex}$"


class ExternalId(AddressPart):
    """Any text matches, so that a malformed id gets a 400 that says what is wrong with it, not a 404."""

    example, pattern = "customer-4711", EXTERNAL_ID


register_converter(PublicId, "public_id")
register_converter(AccountId, "account_id")
register_converter(ExternalId, "external_id")
