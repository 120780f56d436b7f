"""Who performs an act, and how the act is recorded in the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from accounts.models import Account, AuditEvent, ManagementKey, OperatorToken, User
from accounts.services.audit import changes


@dataclass(frozen=True, slots=True)
class Actor:
    """Who performs an act, and from which address. Without a user and a credential it is a command."""

    name: str
    address: str = ""
    user: User | None = None
    credential: ManagementKey | OperatorToken | None = None

    @classmethod
    def command(cls, name: str) -> Actor:
        return cls(f"command {name}")

    @classmethod
    def person(cls, request: HttpRequest) -> Actor:
        """The signed-in user of a request."""
        user = request.user
        assert isinstance(user, User)
        return cls(user.get_username(), cls.address_of(request), user)

    @staticmethod
    def address_of(request: HttpRequest) -> str:
        """The client's address, which `console.proxies` has determined behind trusted proxies."""
        return str(request.META.get("REMOTE_ADDR") or "")[:45]

    @property
    def made_with(self) -> str | None:
        """The id of the credential that is used, to be stored with what it creates."""
        return self.credential.public_id if self.credential else None


def record_act(
    actor: Actor, act: str, subject: str, *, account: Account | None = None, before: Any = None, after: Any = None
) -> None:
    """Add a row to the audit log, in the transaction of the change."""
    before, after = changes(before, after)
    AuditEvent.objects.create(
        actor=actor.name,
        address=actor.address,
        act=act,
        subject=subject,
        account=account.public_id if account else "",
        before=before,
        after=after,
    )
