"""Issuing, changing, rotating, pausing and revoking keys. accounts/imports/ imports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext

from accounts import caps, keys
from accounts.facts.publish import Publication, change, models_base
from accounts.models import (
    Account,
    ApiKey,
    KeyLimit,
    KeySecret,
)
from accounts.peppers import peppers
from accounts.plan_models import no_such_models
from accounts.refused import Refused
from accounts.services.acts import Actor
from accounts.services.limits import costs_of, hold
from accounts.services.record import key_state, lock, record_change
from quotas.limits import EVERY_MODEL, Limit
from quotas.models import Plan, ServedModel
from runtime.networks import HINT, NoNetwork, read_networks

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


LONGEST_GRACE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Issued:
    """A key and its text, which is shown once and cannot be recovered."""

    key: ApiKey
    text: str = field(repr=False)
    publication: Publication


def issue_key(
    account: Account,
    *,
    name: str,
    actor: Actor,
    key_id: str | None = None,
    models: Sequence[str] | None = None,
    networks: Sequence[str] = (),
    methods: Sequence[str] = (),
    limits: Sequence[Limit] = (),
    expires_at: datetime | None = None,
    metadata: Mapping[str, Any] | None = None,
    secret: str | None = None,
) -> Issued:
    """Create a key. Its text is returned once and cannot be recovered.

    A form supplies the last 8 characters of the public id (`key_id`), so that submitting it twice issues one key. With
    an Idempotency-Key, `secret` is the one that is derived from it.
    """
    with change() as publication:
        lock(account)
        if account.closed_at:
            raise Refused(gettext("The account %(account)s is closed and can't get new keys.") % {"account": account})
        public_id = account.public_id + key_id if key_id else keys.new_key_id(account.public_id)
        if ApiKey.objects.filter(public_id=public_id).exists():
            words = gettext("The key %(key)s has already been issued; its secret was shown then.")
            raise Refused(words % {"key": public_id})
        caps.require_room_for_a_key(account)
        key = ApiKey(account=account, public_id=public_id, created_by=actor.user, made_with=actor.made_with)
        _set(
            key,
            name=name,
            models=models,
            networks=networks,
            methods=methods,
            expires_at=expires_at,
            metadata=metadata or {},
        )
        if expires_at is not None and expires_at <= timezone.now():
            raise ValidationError({"expires_at": gettext("This time has passed.")})
        key.full_clean(exclude=["public_id"])
        key.save()
        _narrow(key, limits)
        new = _add_secret(key, secret)
        publication.of_birth(key)
        record_change(actor, "key.issue", account, key.public_id, None, key_state(key))
    return Issued(key, new.text, publication)


def change_key(key: ApiKey, *, actor: Actor, **changes: Any) -> Publication:
    """Change name, models, networks, methods, limits, expires_at or metadata: only those that are passed."""
    with change() as publication:
        if "expires_at" in changes:
            lock(key.account)  # a key that is living again counts; lock the account before the key, like everybody else
        lock(key)
        before, was_living, metadata = key_state(key), key.is_living, key.metadata
        limits = changes.pop("limits", None)
        had_name = key.name
        _set(key, **changes)
        if key.is_living and not was_living:
            caps.require_room_for_a_key(key.account)
        # An unchanged name is not validated again: rules may have become stricter since it was given.
        key.full_clean(exclude={"name"} if key.name == had_name else None)
        key.save(update_fields=_CHANGEABLE)
        if limits is not None:
            _narrow(key, limits)
        publication.of_key(key)
        after = key_state(key)
        if key.metadata != metadata:
            after["metadata"] = "changed"  # not the values: they belong to the account and may have to be erased
        record_change(actor, "key.change", key.account, key.public_id, before, after)
    return publication


def check_key(**changes: Any) -> None:
    """Raise ValidationError if a key with these models, networks and methods would be refused."""
    _set(ApiKey(), **changes)


def rotate_key(
    key: ApiKey, *, grace: timedelta, actor: Actor, version: int | None = None, secret: str | None = None
) -> Issued:
    """Give the key a new secret. The previous one works during the grace period of 0 to 7 days; older ones end now.

    A form supplies the key's version, so that submitting it twice rotates once.
    """
    if not timedelta(0) <= grace <= LONGEST_GRACE:
        raise ValidationError({"grace": gettext("The grace period must be between 0 and 7 days.")})
    with change() as publication:
        lock(key)
        _refuse_if_revoked(key)
        if version not in (None, key.version):
            words = gettext("The key %(key)s has changed since this form was opened. Open it again.")
            raise Refused(words % {"key": key.public_id})
        now = timezone.now()
        ends = now + grace
        for place, old in enumerate(key.secrets.order_by("-id")):
            end = ends if place == 0 else now
            if old.expires_at is None or old.expires_at > end:
                old.expires_at = end
                old.save(update_fields=["expires_at"])
        new = _add_secret(key, secret)
        _forget_old_secrets(key)
        publication.of_key(key)
        record_change(actor, "key.rotate", key.account, key.public_id, None, {"old_until": ends.isoformat()})
    return Issued(key, new.text, publication)


def end_rotation(key: ApiKey, *, actor: Actor) -> Publication:
    """End the grace period of old secrets now."""
    with change() as publication:
        now = timezone.now()
        for secret in key.secrets.filter(expires_at__gt=now):
            secret.expires_at = now
            secret.save(update_fields=["expires_at"])
        publication.of_key(key)
        record_change(actor, "key.end_rotation", key.account, key.public_id, None, {"old_until": now.isoformat()})
    return publication


def pause_key(key: ApiKey, *, actor: Actor) -> Publication:
    """Refuse the key from its next request on, until it is resumed. It keeps everything else. Repeatable."""
    return _set_pause(key, "key.pause", timezone.now(), actor)


def resume_key(key: ApiKey, *, actor: Actor) -> Publication:
    """Let a paused key work again from its next request on. Repeatable."""
    return _set_pause(key, "key.resume", None, actor)


def _set_pause(key: ApiKey, act: str, paused_at: datetime | None, actor: Actor) -> Publication:
    with change() as publication:
        lock(key)
        _refuse_if_revoked(key)
        if (key.paused_at is None) is not (paused_at is None):
            before = key_state(key)
            key.paused_at = paused_at
            key.save(update_fields=["paused_at"])
            record_change(actor, act, key.account, key.public_id, before, key_state(key))
        publication.of_key(key)  # also when repeated, like a revocation
    return publication


def revoke_key(key: ApiKey, *, actor: Actor) -> Publication:
    """Revoke the key permanently: its next request is refused. Repeatable."""
    with change() as publication:
        lock(key)
        before = key_state(key)
        if key.revoked_at is None:
            key.revoked_at = timezone.now()
            key.save(update_fields=["revoked_at"])
            record_change(actor, "key.revoke", key.account, key.public_id, before, key_state(key))
        # Also when repeated: a caller whose first attempt was pending needs it published.
        publication.of_key(key)
    return publication


def _refuse_if_revoked(key: ApiKey) -> None:
    if key.revoked_at:
        raise Refused(gettext("The key %(key)s is revoked. Issue a new one.") % {"key": key.public_id})


_CHANGEABLE = ["name", "narrowed_to", "networks", "methods", "expires_at", "metadata"]  # not the version


def _set(key: ApiKey, **changes: Any) -> None:
    """Validate the values that are passed, and set them."""
    if "models" in changes:
        key.narrowed_to = _known_models(changes.pop("models"), key.account.plan if key.account_id else None)
    if "networks" in changes:
        key.networks = _networks(changes.pop("networks"))
    if "methods" in changes:
        key.methods = _methods(changes.pop("methods"))
    if "metadata" in changes:
        key.metadata = dict(changes.pop("metadata"))
    if "name" in changes:
        key.name = str(changes.pop("name")).strip()
    if "expires_at" in changes:
        key.expires_at = changes.pop("expires_at")
    if changes:
        raise TypeError(f"a key has no {', '.join(changes)}")


def _known_models(models: Sequence[str] | None, plan: Plan | None) -> list[str] | None:
    if models is None:
        return None
    wanted = list(dict.fromkeys(models))
    caps.at_most(caps.MOST_MODELS, len(wanted), "models")
    unknown = set(wanted) - set(ServedModel.objects.filter(slug__in=wanted).values_list("slug", flat=True))
    if unknown:
        raise ValidationError({"models": no_such_models(unknown, plan)})  # the key of a form has no account yet
    if not wanted:
        words = gettext("Choose at least one model, or leave this out for all models of the plan.")
        raise ValidationError({"models": words})
    return wanted


def _networks(networks: Sequence[str]) -> list[str]:
    caps.at_most(caps.MOST_NETWORKS, len(networks), "networks")
    try:
        return [str(network) for network in read_networks(networks)]
    except NoNetwork as error:
        words = gettext(error.words) % {"text": error.text}
        raise ValidationError({"networks": f"{words}. {HINT}"}) from error


def _methods(methods: Sequence[str]) -> list[str]:
    unknown = set(methods) - set(METHODS)
    if unknown:
        words = gettext("Unknown method %(methods)s. Use %(known)s.")
        raise ValidationError({"methods": words % {"methods": ", ".join(sorted(unknown)), "known": ", ".join(METHODS)}})
    return list(dict.fromkeys(methods))


def _narrow(key: ApiKey, limits: Sequence[Limit]) -> None:
    """Make these the key's own limits. A limit with the same counter keeps the moment since which it counts."""
    caps.at_most(caps.MOST_LIMITS, len(limits), "limits")
    wanted = [replace(limit, scope="key") for limit in limits]
    hold(wanted, costs_of(key.account.plan, key.narrowed_to))
    since = {}
    for row in key.limits.select_related("model"):
        since[row.as_limit("key").identity] = row.counted_since
        row.delete()
    for limit in wanted:
        model = None if limit.model == EVERY_MODEL else ServedModel.objects.get(slug=limit.model)
        row = KeyLimit(
            key=key,
            name=limit.name,
            model=model,
            amount=limit.amount,
            window=limit.window,
            unit=limit.unit,
            burst=limit.burst,
            counted_since=since.get(limit.identity) or timezone.now(),
        )
        try:
            row.full_clean()
        except ValidationError as error:
            raise ValidationError({"limits": [f"{limit.name}: {text}" for text in error.messages]}) from error
        row.save()


def _add_secret(key: ApiKey, secret: str | None) -> keys.NewKey:
    new = keys.new_key(key.public_id, settings.KEY_PREFIX, peppers()[0], secret)
    KeySecret.objects.create(key=key, digest=new.digest, pepper=new.pepper, minted_pepper=new.pepper, start=new.start)
    return new


def _forget_old_secrets(key: ApiKey) -> None:
    """Keep the newest secrets of a key, and an imported one, whose digest shows that it has been imported."""
    newest = key.secrets.order_by("-id").values_list("pk", flat=True)[: caps.KEPT_SECRETS]
    models_base(KeySecret).filter(key=key, is_imported=False).exclude(pk__in=list(newest)).delete()
