"""Examples in the schema, by serializer: a test reads each with its form, or checks it against its schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accounts.api import keys, operations

KEY_ID, ACCOUNT_ID = "T5c6tKxKnroPXQdG", "T5c6tKxK"

PARAMETERS: Mapping[str, str] = {
    "public_id": KEY_ID,
    "key_id": KEY_ID,
    "account_id": ACCOUNT_ID,
    "external_id": "customer-4711",
}

_LIMIT = {"name": "burst", "amount": 20, "window": "minute", "unit": "requests", "model": "*", "burst": 5}
_KEY = {
    "id": KEY_ID,
    "account": ACCOUNT_ID,
    "name": "laptop",
    "start": f"ask_{KEY_ID}",
    "models": ["en_core_web_sm"],
    "networks": ["203.0.113.0/24"],
    "methods": ["POST"],
    "limits": [_LIMIT],
    "expires_at": "2031-01-31T12:00:00Z",
    "revoked_at": None,
    "created_at": "2030-11-23T06:20:00Z",
    "last_used_at": None,
    "metadata": {"team": "nlp"},
}
_KEY_IN = {
    "name": "laptop",
    "models": ["en_core_web_sm"],
    "networks": ["203.0.113.0/24"],
    "methods": ["POST"],
    "limits": [_LIMIT],
    "expires_at": "2031-01-31T12:00:00Z",
    "metadata": {"team": "nlp"},
}

BODIES: Mapping[type, Any] = {
    keys.KeyIn: _KEY_IN,
    keys.KeyChange: {"name": "laptop of Ada", "methods": ["GET", "POST"]},
    keys.RotateIn: {"grace_seconds": 3600},
}

ANSWERS: Mapping[type, Any] = {
    keys.KeyOut: _KEY,
    operations.IssuedKey: {**_KEY, "key": f"ask_{KEY_ID}_…"},
    operations.PendingChange: {"id": KEY_ID},
}
