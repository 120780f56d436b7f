"""Every test of the API is a test of its schema too."""

from __future__ import annotations

import pytest

from tests.api.conformance import compared


@pytest.fixture(autouse=True)
def _imports_are_switched_on(settings):
    settings.IMPORTED_KEYS = True


@pytest.fixture(autouse=True)
def _as_the_schema_says(monkeypatch):
    with compared(monkeypatch):
        yield
