"""Who may do what, as one table, and the rule that nobody can give more than they have.

A person has the rights of their role in the account, and staff also those of their permissions in the admin. A
management key or operator token has the rights of its scopes. A command has all rights: anyone who can run one can also
write to the database.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

from django.contrib.auth.models import Permission
from django.db.models import Q
from django.utils.translation import gettext, gettext_lazy

from accounts.models import Account, ManagementKey, Membership, OperatorToken, User
from accounts.refused import Refused
from accounts.services.acts import Actor

if TYPE_CHECKING:  # only the stubs know it
    from django.utils.functional import _StrPromise as StrPromise

Role = Membership.Role

MANAGEMENT_SCOPES = ("keys:read", "keys:write", "usage:read", "members:write")
OPERATOR_SCOPES = ("accounts:write", "plans:assign", "keys:write", "usage:read")

RANKS = (Role.VIEWER.value, Role.MEMBER.value, Role.ADMIN.value, Role.OWNER.value)  # each includes the ones before it
MOST_BY_MACHINES = Role.MEMBER.value

EVERY_ROLE = frozenset(Role.values)
ISSUERS = frozenset({Role.OWNER.value, Role.ADMIN.value, Role.MEMBER.value})
MASTERS = frozenset({Role.OWNER.value, Role.ADMIN.value})
OWNERS = frozenset({Role.OWNER.value})
MEMBERS = frozenset({Role.MEMBER.value})
NOBODY: frozenset[str] = frozenset()

ANY = "any"  # every credential of this kind, regardless of scopes
NEVER = ""
_IMPLIED = {"keys:write": "keys:read"}  # changing a key includes seeing it

# What Django's permissions allow in the admin is allowed in the API, too.
_PERMISSIONS = {
    "accounts:write": "accounts.change_account",
    "plans:assign": "accounts.change_account",
    "keys:write": "accounts.change_apikey",
    "usage:read": "quotas.view_usagehour",
}


class Action(Enum):
    """Something that can be done: its description, the roles that may do it, the scopes that a management key and an
    operator token need for it, and the roles that may do it only to what they created themselves."""

    READ_SELF = (gettext_lazy("see who one is"), EVERY_ROLE, ANY, ANY)
    READ_CATALOGUE = (gettext_lazy("see models and plans"), EVERY_ROLE, ANY, ANY)
    READ_ACCOUNT = (gettext_lazy("see the account"), EVERY_ROLE, ANY, ANY)
    RENAME_ACCOUNT = (gettext_lazy("rename the account"), MASTERS, NEVER, "accounts:write")
    EXPORT_ACCOUNT = (gettext_lazy("export the account"), OWNERS, NEVER, "accounts:write")
    CLOSE_ACCOUNT = (gettext_lazy("close the account"), OWNERS, NEVER, "accounts:write")
    PROVISION_ACCOUNT = (gettext_lazy("make and set accounts"), NOBODY, NEVER, "accounts:write")
    ASSIGN_PLAN = (gettext_lazy("put accounts on plans and override limits"), NOBODY, NEVER, "plans:assign")
    READ_MEMBERS = (gettext_lazy("see members and invitations"), EVERY_ROLE, "members:write", "accounts:write")
    WRITE_MEMBERS = (
        gettext_lazy("invite, change and remove members and viewers"),
        MASTERS,
        "members:write",
        "accounts:write",
    )
    CHANGE_ADMINS = (gettext_lazy("change and remove admins"), MASTERS, NEVER, "accounts:write")
    CHANGE_OWNERS = (gettext_lazy("change and remove owners"), OWNERS, NEVER, "accounts:write")
    READ_KEYS = (gettext_lazy("see keys"), EVERY_ROLE, "keys:read", "keys:write")
    ISSUE_KEY = (gettext_lazy("issue keys"), ISSUERS, "keys:write", "keys:write")
    CHANGE_KEY = (gettext_lazy("change, rotate, pause and revoke keys"), MASTERS, "keys:write", "keys:write", MEMBERS)
    IMPORT_KEYS = (gettext_lazy("import keys of another system"), MASTERS, "keys:write", "keys:write")
    READ_MANAGEMENT_KEYS = (gettext_lazy("see management keys"), MASTERS, NEVER, "keys:write")
    WRITE_MANAGEMENT_KEYS = (gettext_lazy("make and revoke management keys"), MASTERS, NEVER, "keys:write")
    READ_USAGE = (gettext_lazy("see usage and limits"), EVERY_ROLE, "usage:read", "usage:read")
    EXPLAIN = (gettext_lazy("have a decision explained"), OWNERS, NEVER, "usage:read")
    READ_AUDIT = (gettext_lazy("read the audit log"), MASTERS, NEVER, "accounts:write")

    def __init__(
        self, words: StrPromise, roles: frozenset[str], management: str, operator: str, own: frozenset[str] = NOBODY
    ) -> None:
        self.roles, self.management, self.operator, self.own = roles, management, operator, own
        self._words = words

    @property
    def words(self) -> str:
        """In the reader's language."""
        return str(self._words)


TO_CHANGE = {  # the action needed to change a member with this role
    Role.VIEWER.value: Action.WRITE_MEMBERS,
    Role.MEMBER.value: Action.WRITE_MEMBERS,
    Role.ADMIN.value: Action.CHANGE_ADMINS,
    Role.OWNER.value: Action.CHANGE_OWNERS,
}


class Beyond(Refused):
    """The actor would give, change or remove more than it has. `scope` is the one that its credential lacks."""

    def __init__(self, text: str, scope: str = "") -> None:
        super().__init__(text)
        self.scope = scope


@dataclass(frozen=True, slots=True)
class Authority:
    """The rights that an actor has in an account at this moment."""

    kind: Literal["command", "person", "management_key", "operator_token"]
    scopes: frozenset[str] = NOBODY  # of a credential, or of a person on the operator's staff
    role: str | None = None

    def may(self, action: Action) -> bool:
        if self.kind == "command":
            return True
        wanted = action.management if self.kind == "management_key" else action.operator
        has_scope = bool(self.scopes) if wanted == ANY else wanted in self.scopes
        return has_scope or self.role in action.roles

    def lacks(self, actions: Iterable[Action]) -> list[str]:
        """The operator scopes that the missing actions need; for an action without one, its description."""
        missing = [action for action in actions if not self.may(action)]
        return list(dict.fromkeys(action.operator or action.words for action in missing))

    @property
    def highest_role(self) -> str | None:
        """The highest role that may be given: by a program at most `member`, by a person at most one whose rights the
        person has. None: no role may be given."""
        if not self.may(Action.WRITE_MEMBERS):
            return None
        if self.kind in ("management_key", "operator_token"):
            return MOST_BY_MACHINES
        higher = [role for role in RANKS[RANKS.index(MOST_BY_MACHINES) + 1 :] if not self.lacks(actions_of_role(role))]
        return (higher or [MOST_BY_MACHINES])[-1]


def actions_of_scope(scope: str) -> frozenset[Action]:
    """What this scope allows a management key to do, beyond what every key may do."""
    scopes = with_implied([scope])
    return frozenset(action for action in Action if action.management in scopes)


def actions_of_role(role: str) -> frozenset[Action]:
    return frozenset(action for action in Action if role in action.roles)


def with_implied(scopes: Iterable[str]) -> frozenset[str]:
    """The scopes, and those they include."""
    known = frozenset(scopes)
    return known | {_IMPLIED[scope] for scope in known if scope in _IMPLIED}


def is_lower(role: str | None, than: str | None) -> bool:
    """Whether `role` is lower than `than`. No role is lower than any."""
    return than is not None and (role is None or RANKS.index(role) < RANKS.index(than))


def operator_scopes(user: User) -> frozenset[str]:
    """Superusers have all of the operator's scopes, staff those of their permissions in the admin, others none."""
    if not user.is_staff and not user.is_superuser:
        return NOBODY
    return with_implied(scope for scope in OPERATOR_SCOPES if user.has_perm(_PERMISSIONS[scope]))


def authority_of(actor: Actor, account: Account) -> Authority:
    """The actor's rights in the account. A person's are read again, because they may have changed since the request
    began. Withdrawing rights waits for the account's lock."""
    match actor.credential:
        case ManagementKey() as key:
            scopes = with_implied(key.scopes) if key.account_id == account.pk else NOBODY
            return Authority("management_key", scopes)
        case OperatorToken() as token:
            return Authority("operator_token", with_implied(token.scopes))
    return authority_of_person(actor.user, account) if actor.user else Authority("command")


def authority_of_person(user: User, account: Account) -> Authority:
    """A person's rights in the account: none if the user is deleted or deactivated."""
    now = User.objects.filter(pk=user.pk, is_active=True).first()
    if now is None:
        return Authority("person")
    role = Membership.objects.filter(account=account, user=now).values_list("role", flat=True).first()
    return Authority("person", operator_scopes(now), role)


def check_scopes(
    actor: Actor, account: Account, scopes: Collection[str], *, verb: Literal["create", "revoke"] = "create"
) -> None:
    """Raise Beyond if a management key with these scopes could do more than the actor."""
    authority = authority_of(actor, account)
    needed = [Action.WRITE_MANAGEMENT_KEYS, *(action for scope in scopes for action in actions_of_scope(scope))]
    if missing := authority.lacks(needed):
        words = {
            "create": gettext(
                "You can't create a management key with these scopes, because it could do more than you."
            ),
            "revoke": gettext(
                "You can't revoke a management key with these scopes, because it could do more than you."
            ),
        }
        lacking = gettext("You lack %(rights)s.") % {"rights": _in_a_row(missing)}
        raise Beyond(f"{words[verb]} {lacking}", missing[0] if ":" in missing[0] else "")


def _in_a_row(words: Sequence[str]) -> str:
    *some, last = words
    return gettext("%(some)s and %(last)s") % {"some": ", ".join(some), "last": last} if some else last


def scopes_to_give(authority: Authority) -> list[str]:
    """The scopes that it may give to management keys."""
    if not authority.may(Action.WRITE_MANAGEMENT_KEYS):
        return []
    return [scope for scope in MANAGEMENT_SCOPES if not authority.lacks(actions_of_scope(scope))]


def check_role(actor: Actor, account: Account, before: str | None, after: str | None) -> None:
    """Raise Beyond if the actor may not change a member or invitation with the role `before`, or may not give the role
    `after`. None: no role."""
    authority = authority_of(actor, account)
    action = TO_CHANGE.get(before or Role.MEMBER.value, Action.WRITE_MEMBERS)
    if missing := authority.lacks([action]):
        needed = action.management if authority.kind == "management_key" else missing[0]
        raise Beyond(gettext("You may not %(act)s.") % {"act": action.words}, needed if ":" in needed else "")
    highest = authority.highest_role
    if after is not None and (highest is None or is_lower(highest, after)):
        raise Beyond(_above(authority, after, highest))


def _above(authority: Authority, role: str, highest: str | None) -> str:
    if authority.kind != "person":
        words = gettext(
            "Programs can give at most the role %(highest)s; a signed-in person has to make somebody %(role)s."
        )
        return words % {"highest": MOST_BY_MACHINES, "role": role}
    words = gettext("You can't make somebody %(role)s: the highest role that you can give is %(highest)s.")
    return words % {"role": role, "highest": highest}


def outranks(editor: User, other: User) -> bool:
    """Whether the editor has all rights of the other user and more, and may therefore change that user's password and
    rights. Superusers outrank everybody, and only superusers outrank superusers."""
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
    """The user's permissions, even while not active or not staff: the same page can change either."""
    given = Permission.objects.filter(Q(user=user) | Q(group__user=user))
    return frozenset(given.values_list("pk", flat=True))
