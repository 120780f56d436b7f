"""Who may do what, as one table, and what follows from it: nobody gives more than they have.

A person has what the role in the account says, staff also what their permissions in the admin say, a management key
and an operator token what their scopes say. A command has everything: who can run one can write into the database.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from django.contrib.auth.models import Permission
from django.db.models import Q

from accounts.models import Account, ManagementKey, Membership, OperatorToken, User
from accounts.refused import Refused
from accounts.services.acts import Actor

Role = Membership.Role

MANAGEMENT_SCOPES = ("keys:read", "keys:write", "usage:read", "members:write")
OPERATOR_SCOPES = ("accounts:write", "plans:assign", "keys:write", "usage:read")

RANKS = (Role.VIEWER.value, Role.MEMBER.value, Role.ADMIN.value, Role.OWNER.value)  # each has what those before have
MOST_BY_MACHINES = Role.MEMBER.value

EVERY_ROLE = frozenset(Role.values)
ISSUERS = frozenset({Role.OWNER.value, Role.ADMIN.value, Role.MEMBER.value})
MASTERS = frozenset({Role.OWNER.value, Role.ADMIN.value})
OWNERS = frozenset({Role.OWNER.value})
MEMBERS = frozenset({Role.MEMBER.value})
NOBODY: frozenset[str] = frozenset()

ANY = "any"  # every credential of this kind, whatever its scopes
NEVER = ""
_IMPLIED = {"keys:write": "keys:read"}  # who may change a key may see it

# What Django's permissions let somebody do in the admin, they may do in the API.
_PERMISSIONS = {
    "accounts:write": "accounts.change_account",
    "plans:assign": "accounts.change_account",
    "keys:write": "accounts.change_apikey",
    "usage:read": "quotas.view_usagehour",
}


class Action(Enum):
    """What can be done: its words, the roles that may, the scope of a management key, the scope of an operator, and
    the roles that may with what they made themselves."""

    READ_SELF = ("see who one is", EVERY_ROLE, ANY, ANY)
    READ_CATALOGUE = ("see models and plans", EVERY_ROLE, ANY, ANY)
    READ_ACCOUNT = ("see the account", EVERY_ROLE, ANY, ANY)
    RENAME_ACCOUNT = ("rename the account", MASTERS, NEVER, "accounts:write")
    EXPORT_ACCOUNT = ("export the account", OWNERS, NEVER, "accounts:write")
    CLOSE_ACCOUNT = ("close the account", OWNERS, NEVER, "accounts:write")
    PROVISION_ACCOUNT = ("make and set accounts", NOBODY, NEVER, "accounts:write")
    ASSIGN_PLAN = ("put accounts on plans and override limits", NOBODY, NEVER, "plans:assign")
    READ_MEMBERS = ("see members and invitations", EVERY_ROLE, "members:write", "accounts:write")
    WRITE_MEMBERS = ("invite, change and remove members and viewers", MASTERS, "members:write", "accounts:write")
    CHANGE_ADMINS = ("change and remove admins", MASTERS, NEVER, "accounts:write")
    CHANGE_OWNERS = ("change and remove owners", OWNERS, NEVER, "accounts:write")
    READ_KEYS = ("see keys", EVERY_ROLE, "keys:read", "keys:write")
    ISSUE_KEY = ("issue keys", ISSUERS, "keys:write", "keys:write")
    CHANGE_KEY = ("change, rotate and revoke keys", MASTERS, "keys:write", "keys:write", MEMBERS)
    IMPORT_KEYS = ("import keys of another system", MASTERS, "keys:write", "keys:write")
    READ_MANAGEMENT_KEYS = ("see management keys", MASTERS, NEVER, "keys:write")
    WRITE_MANAGEMENT_KEYS = ("make and revoke management keys", MASTERS, NEVER, "keys:write")
    READ_USAGE = ("see usage and limits", EVERY_ROLE, "usage:read", "usage:read")
    EXPLAIN = ("have a decision explained", OWNERS, NEVER, "usage:read")
    READ_AUDIT = ("read the audit log", MASTERS, NEVER, "accounts:write")

    def __init__(
        self, words: str, roles: frozenset[str], management: str, operator: str, own: frozenset[str] = NOBODY
    ) -> None:
        self.words, self.roles, self.management, self.operator, self.own = words, roles, management, operator, own


TO_CHANGE = {  # a member with this role
    Role.VIEWER.value: Action.WRITE_MEMBERS,
    Role.MEMBER.value: Action.WRITE_MEMBERS,
    Role.ADMIN.value: Action.CHANGE_ADMINS,
    Role.OWNER.value: Action.CHANGE_OWNERS,
}


class Beyond(Refused):
    """Somebody would give, change or take away more than they have. `scope` is what a credential lacks for it."""

    def __init__(self, text: str, scope: str = "") -> None:
        super().__init__(text)
        self.scope = scope


@dataclass(frozen=True, slots=True)
class Authority:
    """What somebody may do in an account, as things stand now."""

    kind: Literal["command", "person", "management_key", "operator_token"]
    scopes: frozenset[str] = NOBODY  # of a credential, and of a person as one of the operator's staff
    role: str | None = None

    def may(self, action: Action) -> bool:
        if self.kind == "command":
            return True
        wanted = action.management if self.kind == "management_key" else action.operator
        has_scope = bool(self.scopes) if wanted == ANY else wanted in self.scopes
        return has_scope or self.role in action.roles

    def lacks(self, actions: Iterable[Action]) -> list[str]:
        """The operator's scopes, or for want of one the words, of those that it may not do."""
        missing = [action for action in actions if not self.may(action)]
        return list(dict.fromkeys(action.operator or action.words for action in missing))

    @property
    def highest_role(self) -> str | None:
        """The highest role that it may give: a machine's is at most `member`, a person's at most what the person
        could do without it. None: it gives none at all."""
        if not self.may(Action.WRITE_MEMBERS):
            return None
        if self.kind in ("management_key", "operator_token"):
            return MOST_BY_MACHINES
        higher = [role for role in RANKS[RANKS.index(MOST_BY_MACHINES) + 1 :] if not self.lacks(actions_of_role(role))]
        return (higher or [MOST_BY_MACHINES])[-1]


def actions_of_scope(scope: str) -> frozenset[Action]:
    """What a management key with this scope may do, beyond what every one may."""
    scopes = with_implied([scope])
    return frozenset(action for action in Action if action.management in scopes)


def actions_of_role(role: str) -> frozenset[Action]:
    return frozenset(action for action in Action if role in action.roles)


def with_implied(scopes: Iterable[str]) -> frozenset[str]:
    """The scopes with those that they include."""
    known = frozenset(scopes)
    return known | {_IMPLIED[scope] for scope in known if scope in _IMPLIED}


def is_lower(role: str | None, than: str | None) -> bool:
    """Whether a role is below another one; none at all is below each."""
    return than is not None and (role is None or RANKS.index(role) < RANKS.index(than))


def operator_scopes(user: User) -> frozenset[str]:
    """Superusers are operators; staff as far as their permissions in the admin go; nobody else is."""
    if not user.is_staff and not user.is_superuser:
        return NOBODY
    return with_implied(scope for scope in OPERATOR_SCOPES if user.has_perm(_PERMISSIONS[scope]))


def authority_of(actor: Actor, account: Account) -> Authority:
    """What the actor may do in the account. A person's rights are read anew: they may have changed since the request
    began, and whoever takes them away waits for the lock of the account."""
    match actor.credential:
        case ManagementKey() as key:
            scopes = with_implied(key.scopes) if key.account_id == account.pk else NOBODY
            return Authority("management_key", scopes)
        case OperatorToken() as token:
            return Authority("operator_token", with_implied(token.scopes))
    return authority_of_person(actor.user, account) if actor.user else Authority("command")


def authority_of_person(user: User, account: Account) -> Authority:
    """Of somebody who is gone or cannot sign in: none."""
    now = User.objects.filter(pk=user.pk, is_active=True).first()
    if now is None:
        return Authority("person")
    role = Membership.objects.filter(account=account, user=now).values_list("role", flat=True).first()
    return Authority("person", operator_scopes(now), role)


def check_scopes(actor: Actor, account: Account, scopes: Collection[str], *, verb: str = "make") -> None:
    """Refuse to make or revoke a management key that may do more than the actor. Raises Beyond."""
    authority = authority_of(actor, account)
    needed = [Action.WRITE_MANAGEMENT_KEYS, *(action for scope in scopes for action in actions_of_scope(scope))]
    if missing := authority.lacks(needed):
        words = f"You cannot {verb} a management key with these scopes: it could do more than you."
        raise Beyond(f"{words} You lack {' and '.join(missing)}.", missing[0] if ":" in missing[0] else "")


def scopes_to_give(authority: Authority) -> list[str]:
    """The scopes of management keys that it may make."""
    if not authority.may(Action.WRITE_MANAGEMENT_KEYS):
        return []
    return [scope for scope in MANAGEMENT_SCOPES if not authority.lacks(actions_of_scope(scope))]


def check_role(actor: Actor, account: Account, before: str | None, after: str | None) -> None:
    """Refuse to change or remove a member, or an invitation, of higher standing than one may touch, and to give a role
    above the highest that one gives. Raises Beyond."""
    authority = authority_of(actor, account)
    action = TO_CHANGE.get(before or Role.MEMBER.value, Action.WRITE_MEMBERS)
    if missing := authority.lacks([action]):
        needed = action.management if authority.kind == "management_key" else missing[0]
        raise Beyond(f"You may not {action.words}.", needed if ":" in needed else "")
    highest = authority.highest_role
    if after is not None and (highest is None or is_lower(highest, after)):
        raise Beyond(_above(authority, after, highest))


def _above(authority: Authority, role: str, highest: str | None) -> str:
    if authority.kind != "person":
        return f"A program gives at most the role {MOST_BY_MACHINES}: {role}s are made by people who are signed in."
    return f"You cannot make somebody {role}: you give at most the role {highest}."


def outranks(editor: User, other: User) -> bool:
    """Whether the editor could do all that the other may, and more: then their password may be changed, and with it
    what they may. A superuser outranks everybody, and nobody else does a superuser."""
    if not editor.is_active or other.is_superuser:
        return editor.is_active and editor.is_superuser
    if editor.is_superuser:
        return True
    theirs = _permissions_of(other)
    if theirs and not theirs < _permissions_of(editor):
        return False
    return all(
        not authority_of_person(editor, member.account).lacks(actions_of_role(member.role))
        for member in Membership.objects.filter(user=other).select_related("account")
    )


def _permissions_of(user: User) -> frozenset[int]:
    """Whether or not the user is active or staff at the moment: either can be changed on the same page."""
    given = Permission.objects.filter(Q(user=user) | Q(group__user=user))
    return frozenset(given.values_list("pk", flat=True))
