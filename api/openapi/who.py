"""Who may make a call, from the table of actions in accounts/authority.py: for the document and for docs/access.md."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accounts.authority import ANY, EVERY_ROLE, NEVER, Action
from accounts.models import Membership
from api.base.operations import Operation

ROLES = ("owner", "admin", "member", "viewer")


def who_may(one: Operation) -> str:
    """A line for each action: everybody who may do it."""
    return "\n".join(f"- To {action.words}: {'; '.join(_callers(action))}." for action in one.who)


def _callers(action: Action) -> list[str]:
    roles = [role for role in Membership.Role.values if role in action.roles]
    own = [role for role in Membership.Role.values if role in action.own]
    callers = []
    if roles:
        callers.append(f"signed in as {', '.join(roles)}" + (f" ({', '.join(own)}: what they created)" if own else ""))
    for kind, scope in (("management key", action.management), ("operator", action.operator)):
        if scope == ANY:
            callers.append(f"any {kind}")
        elif scope != NEVER:
            callers.append(f"{kind} with `{scope}`")
    return callers


def security_of(one: Operation, *, is_change: bool) -> list[dict[str, list[str]]]:
    """Alternatives. OpenAPI 3.1 allows scopes beside a scheme that is not OAuth."""
    session: dict[str, list[str]] = {"session": [], "csrf": []} if is_change else {"session": []}
    found = [session]
    for scheme, scopes in (
        ("managementKey", [action.management for action in one.who]),
        ("operatorToken", [action.operator for action in one.who]),
    ):
        for scope in dict.fromkeys(scope for scope in scopes if scope != NEVER):
            found.append({scheme: [] if scope == ANY else [scope]})
    return found


def access_table(operations: Iterable[Operation]) -> str:
    """The table in docs/access.md: a row for each action, with the calls that it admits to or that may require it."""
    known = sorted(operations, key=lambda one: one.id)
    rows: list[tuple[str, ...]] = [("to", "people by role", "management key with", "operator with", "calls")]
    rows.append(("---",) * len(rows[0]))
    for action in Action:
        calls = ", ".join(f"`{one.id}`" for one in known if action in one.who)
        rows.append((action.words, _roles(action), _scope(action.management), _scope(action.operator), calls))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _roles(action: Action) -> str:
    if action.roles == EVERY_ROLE:
        return "everybody"
    named = [role for role in ROLES if role in action.roles]
    return ", ".join([*named, *(f"{role}: their own" for role in ROLES if role in action.own)])


def _scope(scope: Any) -> str:
    return "any" if scope == ANY else f"`{scope}`" if scope != NEVER else ""
