"""Management keys and operator tokens: creating, finding and revoking them. Only the API accepts them.

They start with the key prefix, `_mgmt_` or `_oper_`, and a 16-character id. The underscore stands where a key for
models has its id, so the gate refuses them as malformed without a look-up, and nobody can import one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model
from django.utils import timezone
from django.utils.translation import gettext

from accounts import caps, keys
from accounts.authority import MANAGEMENT_SCOPES as MANAGEMENT_SCOPES
from accounts.authority import OPERATOR_SCOPES as OPERATOR_SCOPES
from accounts.authority import Beyond, check_scopes
from accounts.models import Account, Credential, ManagementKey, OperatorToken, User
from accounts.notifications.finding import tell_of_management_key
from accounts.peppers import peppers
from accounts.refused import Refused
from accounts.services.acts import Actor, record_act

MANAGEMENT, OPERATOR = "mgmt", "oper"
USE_IS_NOTED_EVERY = timedelta(minutes=1)


def prefix_of(kind: str) -> str:
    return f"{settings.KEY_PREFIX}_{kind}"


def make_management_key(
    account: Account,
    *,
    name: str,
    scopes: Sequence[str],
    actor: Actor,
    expires_at: datetime | None = None,
    secret: str | None = None,
    key_id: str | None = None,
) -> tuple[ManagementKey, str]:
    """Create a management key, whose text is shown once. It can do no more than its creator, and expires no later than
    the credential that creates it. A form supplies the end of its id, so that submitting it twice creates one."""
    with transaction.atomic():
        account.refresh_from_db(from_queryset=Account.objects.select_for_update())
        check_scopes(actor, account, set(scopes) & set(MANAGEMENT_SCOPES))
        if account.closed_at:
            raise Refused(gettext("The account %(account)s is closed and can't get new keys.") % {"account": account})
        caps.require_room_for_a_management_key(account)
        public_id = account.public_id + key_id if key_id else keys.new_key_id(account.public_id)
        if ManagementKey.objects.filter(public_id=public_id).exists():
            raise Refused(f"The management key {public_id} has already been created; its secret was shown then.")
        row = ManagementKey(account=account, public_id=public_id)
        text = _mint(row, MANAGEMENT, name, scopes, MANAGEMENT_SCOPES, expires_at, actor, secret)
        _write_down(row, "management_key.issue", actor, account)
        tell_of_management_key(row, actor.name)
    return row, text


def make_operator_token(
    *, name: str, scopes: Sequence[str], actor: Actor, expires_at: datetime | None = None
) -> tuple[OperatorToken, str]:
    """Create a token for one of the operator's own systems. Its text is shown once."""
    with transaction.atomic():
        _check_superuser(actor)
        caps.require_room_for_an_operator_token()
        row = OperatorToken(public_id=keys.new_key_id(keys.new_account_id()))
        text = _mint(row, OPERATOR, name, scopes, OPERATOR_SCOPES, expires_at, actor, None)
        _write_down(row, "operator_token.issue", actor, None)
    return row, text


def revoke_credential(row: ManagementKey | OperatorToken, *, actor: Actor) -> None:
    """Revoke it permanently: its next request is refused, because credentials are not cached. Repeatable."""
    with transaction.atomic():
        locked: Any = type(row)._base_manager.select_for_update()
        row.refresh_from_db(from_queryset=locked)
        if row.revoked_at is None:
            row.revoked_at = timezone.now()
            row.save(update_fields=["revoked_at"])
            is_management = isinstance(row, ManagementKey)
            act = "management_key.revoke" if is_management else "operator_token.revoke"
            _write_down(row, act, actor, row.account if isinstance(row, ManagementKey) else None)


def find_credential(text: str, now: datetime) -> ManagementKey | OperatorToken | None:
    """The active credential with this text, if any. One query, and one more each minute to record its use."""
    return _find(text, MANAGEMENT, now) or _find(text, OPERATOR, now)


def _find(text: str, kind: str, now: datetime) -> ManagementKey | OperatorToken | None:
    reader = keys.KeyReader(prefix_of(kind), peppers())
    # The check may have been made with a pepper that is gone: only the digest decides.
    presented = reader.read(text.encode("utf-8", "replace"), trust_crc=True)
    if not isinstance(presented, keys.PresentedKey):
        return None
    row: ManagementKey | OperatorToken | None
    if kind == MANAGEMENT:
        row = ManagementKey.objects.select_related("account").filter(public_id=presented.public_id).first()
    else:
        row = OperatorToken.objects.filter(public_id=presented.public_id).first()
    if row is None or not _matches(row, presented, reader.peppers) or not row.is_in_force(now):
        return None
    if isinstance(row, ManagementKey) and row.account.closed_at:
        return None
    _note_use(row, presented, reader.peppers[0], now)
    return row


def credential_named(public_id: str | None) -> ManagementKey | OperatorToken | None:
    """The credential with this id, active or not."""
    if public_id is None:
        return None
    key = ManagementKey.objects.filter(public_id=public_id).first()
    return key or OperatorToken.objects.filter(public_id=public_id).first()


def _matches(row: Credential, presented: keys.PresentedKey, known: Sequence[keys.Pepper]) -> bool:
    pepper = next((pepper for pepper in known if pepper.id == row.pepper), None)
    return pepper is not None and compare_digest(presented.digest_with(pepper), bytes.fromhex(row.digest))


def _note_use(row: Credential, presented: keys.PresentedKey, current: keys.Pepper, now: datetime) -> None:
    """Record its last use, accurate to a minute, and its digest under the current pepper."""
    changes: dict[str, object] = {}
    if row.last_used_at is None or now - row.last_used_at >= USE_IS_NOTED_EVERY:
        changes["last_used_at"] = now
    if row.pepper != current.id:
        changes |= {"pepper": current.id, "digest": presented.digest_with(current).hex()}
    if changes:
        model: type[Model] = type(row)
        model._base_manager.filter(pk=row.pk).update(**changes)


def _mint(
    row: Credential,
    kind: str,
    name: str,
    scopes: Sequence[str],
    known: Sequence[str],
    expires_at: datetime | None,
    actor: Actor,
    secret: str | None,
) -> str:
    unknown = set(scopes) - set(known)
    if unknown or not scopes:
        raise ValidationError({"scopes": gettext("Choose at least one of: %(scopes)s.") % {"scopes": ", ".join(known)}})
    if expires_at is not None and expires_at <= timezone.now():
        raise ValidationError({"expires_at": gettext("This time has passed.")})
    expires_at = _last_moment(actor, expires_at)
    new = keys.new_key(row.public_id, prefix_of(kind), peppers()[0], secret)
    row.name, row.scopes, row.expires_at = name.strip(), [one for one in known if one in scopes], expires_at
    row.digest, row.pepper, row.start = new.digest, new.pepper, new.start
    row.created_by, row.made_with = actor.user, actor.made_with
    row.full_clean()
    row.save(force_insert=True)
    return new.text


def _check_superuser(actor: Actor) -> None:
    """An operator token can do more than most of the staff."""
    if actor.user is None and actor.credential is None:
        return  # a command
    rights = {"is_active": True, "is_superuser": True}
    if actor.user is None or not User.objects.filter(pk=actor.user.pk, **rights).exists():
        raise Beyond(gettext("Only superusers can create operator tokens."))


def _last_moment(actor: Actor, wanted: datetime | None) -> datetime | None:
    """When it expires. It must not outlive the credential that creates it, or a stolen one could extend itself."""
    end = actor.credential.expires_at if actor.credential else None
    if end is None or wanted is None:
        return wanted or end
    if wanted > end:
        latest = end.strftime("%Y-%m-%dT%H:%M:%SZ")
        words = gettext("Choose a time no later than %(latest)s, when the credential that you are using expires.")
        raise ValidationError({"expires_at": words % {"latest": latest}})
    return wanted


def _write_down(row: Credential, act: str, actor: Actor, account: Account | None) -> None:
    after = {"name": row.name, "scopes": row.scopes, "expires_at": row.expires_at and row.expires_at.isoformat()}
    if row.revoked_at:
        after["revoked_at"] = row.revoked_at.isoformat()
    record_act(actor, act, row.public_id, account=account, after=after)
