"""Examples in the schema, by serializer: a test reads each with its form, or checks it against its schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accounts.models import EXTERNAL_ID
from api import accounts, audit, catalogue, closing, explain, imports, keys, limits, management_keys, me, members, usage
from api.base import operations

KEY_ID, ACCOUNT_ID = "T5c6tKxKnroPXQdG", "T5c6tKxK"

PARAMETERS: Mapping[str, str] = {  # by converter, or by name where any string fits the address
    "public_id": KEY_ID,
    "account_id": ACCOUNT_ID,
    "external_id": "customer-4711",
}
PATTERNS: Mapping[str, str] = {"external_id": EXTERNAL_ID}

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
    "created_by": "ada",
    "made_with": None,
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

_MANAGEMENT_KEY = {
    "id": "T5c6tKxK8sFQbN2w",
    "account": ACCOUNT_ID,
    "name": "deploy job",
    "scopes": ["keys:read", "keys:write"],
    "start": "ask_mgmt_T5c6tKxK8sFQbN2w",
    "created_by": "ada",
    "made_with": None,
    "created_at": "2030-11-23T06:20:00Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": "2030-11-23T06:25:00Z",
}
_ACCOUNT = {
    "id": ACCOUNT_ID,
    "external_id": "customer-4711",
    "name": "Acme",
    "plan": "pro",
    "plan_since": "2030-11-01T00:00:00Z",
    "status": "active",
    "role": "owner",
    "overrides": {"month": {"amount": 20000, "burst": None}},
    "max_keys": None,
    "created_at": "2030-10-01T08:00:00Z",
    "suspended_at": None,
    "closed_at": None,
}
_MEMBER = {"id": "T5c6tKxKm3RzY7pA", "username": "ada", "email": "ada@example.org", "role": "owner"}
_INVITATION = {
    "id": "T5c6tKxKw9HdL4uE",
    "email": "grace@example.org",
    "role": "member",
    "invited_by": "ada",
    "created_at": "2030-11-23T06:20:00Z",
    "sent_at": "2030-11-23T06:20:01Z",
    "expires_at": "2030-11-30T06:20:00Z",
    "accepted_at": None,
    "withdrawn_at": None,
}
_LEFT_BEHIND = {
    "management_keys": [{"id": _MANAGEMENT_KEY["id"], "name": "deploy job", "revoked": True}],
    "keys": [{"id": KEY_ID, "name": "laptop", "revoked": False}],
    "invitations": [{"id": _INVITATION["id"], "email": "grace@example.org"}],
}
_PLAN_LIMIT = {
    "name": "month", "per": "account", "amount": 10000, "window": "month", "unit": "units", "model": "*", "burst": None,
    "shadow": False,
}  # fmt: skip
_LIMIT_LEFT = {
    "name": "minute", "per": "key", "model": "*", "unit": "requests", "window": "minute", "amount": 60, "burst": 10,
    "left": 9, "whole_in": 1,
}  # fmt: skip
_EVENT = {
    "at": "2030-11-23T06:20:00Z",
    "actor": "ada",
    "address": "203.0.113.7",
    "act": "key.issue",
    "account": ACCOUNT_ID,
    "subject": KEY_ID,
    "before": None,
    "after": {"name": "laptop"},
}

BODIES: Mapping[type, Any] = {
    keys.KeyIn: _KEY_IN,
    keys.KeyChange: {"name": "laptop of Ada", "methods": ["GET", "POST"]},
    keys.RotateIn: {"grace_seconds": 3600},
    management_keys.ManagementKeyIn: {"name": "deploy job", "scopes": ["keys:read", "keys:write"]},
    accounts.AccountChange: {"name": "Acme & Sons"},
    accounts.ProvisionIn: {
        "name": "Acme",
        "plan": "pro",
        "status": "active",
        "overrides": {"month": {"amount": 20000}},
        "max_keys": 500,
    },
    closing.CloseIn: {"confirm": ACCOUNT_ID},
    explain.ExplainIn: {"key": KEY_ID, "path": "/en_core_web_sm/ner", "method": "POST", "address": "203.0.113.7"},
    members.MemberIn: {"username": "grace", "role": "member"},
    members.RoleIn: {"role": "viewer"},
    members.InvitationIn: {"email": "grace@example.org", "role": "member"},
}

ANSWERS: Mapping[type, Any] = {
    me.MeOut: {
        "kind": "session",
        "id": "ada",
        "email": "ada@example.org",
        "is_operator": False,
        "scopes": [],
        "accounts": [{"id": ACCOUNT_ID, "name": "Acme", "role": "owner"}],
    },
    keys.KeyOut: _KEY,
    operations.IssuedKey: {**_KEY, "key": f"ask_{KEY_ID}_…"},
    operations.PendingChange: {"id": KEY_ID},
    management_keys.ManagementKeyOut: _MANAGEMENT_KEY,
    management_keys.ManagementKeyMade: {**_MANAGEMENT_KEY, "key": "ask_mgmt_T5c6tKxK8sFQbN2w_…"},
    imports.ImportOut: {
        "id": "T5c6tKxKf2JvC8nB",
        "account": ACCOUNT_ID,
        "dry_run": False,
        "state": "running",
        "lines": 100000,
        "imported": 41000,
        "already_there": 0,
        "refused": 3,
        "created_at": "2030-11-23T06:20:00Z",
        "finished_at": None,
        "warning": None,
    },
    imports.LineOut: {"line": 7, "outcome": "refused", "key": "", "why": "This key is shorter than 16 characters."},
    accounts.AccountOut: _ACCOUNT,
    operations.Export: {
        "exported_at": "2030-11-23T06:20:00Z",
        "account": {"id": ACCOUNT_ID, "name": "Acme"},
        "members": [_MEMBER],
        "invitations": [],
        "keys": [],
        "management_keys": [],
        "usage": [],
        "audit": [_EVENT],
    },
    usage.UsageOut: {
        "start": "2030-11-22T00:00:00Z",
        "end": "2030-11-23T00:00:00Z",
        "account": ACCOUNT_ID,
        "external_id": "customer-4711",
        "key": KEY_ID,
        "model": "en_core_web_sm",
        "allowed": 120,
        "refused": 3,
        "shadow_refused": 0,
        "units": 600,
    },
    limits.LimitsOut: {
        "key": KEY_ID,
        "account": ACCOUNT_ID,
        "plan": "free",
        "model": "en_core_web_sm",
        "cost": 1,
        "limits": [_LIMIT_LEFT],
        "headers": {"ratelimit": '"minute";r=9;t=1', "ratelimit-policy": '"minute";q=60;w=60'},
    },
    explain.ExplainOut: {
        "verdict": "method_not_allowed",
        "status": 403,
        "detail": "This API key may not use this method.",
        "key": KEY_ID,
        "account": ACCOUNT_ID,
        "plan": "free",
        "model": "en_core_web_sm",
        "checks": [
            {"check": "forwarded_request", "outcome": "passed", "why": None},
            {"check": "method_not_allowed", "outcome": "refused", "why": None},
        ],
        "limits": [{**_LIMIT_LEFT, "refuses": False}],
        "retry_after": None,
        "why": None,
    },
    members.MemberOut: _MEMBER,
    members.MemberChangedOut: {**_MEMBER, "role": "viewer", **_LEFT_BEHIND},
    members.RemovedOut: {"id": _MEMBER["id"], **_LEFT_BEHIND},
    members.InvitationOut: _INVITATION,
    catalogue.ModelOut: {
        "id": "en_core_web_sm",
        "title": "English, small",
        "url": "https://models.example.com/en_core_web_sm",
        "cost": 1,
        "enabled": True,
    },
    catalogue.PlanOut: {"id": "pro", "title": "Pro", "models": ["*"], "max_keys": 100, "limits": [_PLAN_LIMIT]},
    audit.AuditOut: _EVENT,
}
