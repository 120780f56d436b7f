"""Writes: each is a verb the operator would say, owns its transaction, writes the audit log and tells the gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Count, F, Q
from django.utils import timezone

from accounts import caps, keys, standing
from accounts.acts import Actor as Actor
from accounts.acts import record_act as record_act
from accounts.authority import is_lower
from accounts.models import (
    Account,
    AccountOverride,
    ApiKey,
    KeyLimit,
    KeySecret,
    ManagementKey,
    Membership,
    OperatorToken,
    User,
)
from accounts.networks import HINT, read_networks
from accounts.outgrown import LeftBehind, settle
from accounts.peppers import peppers as peppers
from accounts.plan_models import in_words, listed
from accounts.publish import Publication, change, models_base
from accounts.refused import Refused as Refused
from quotas import names, rules, store
from quotas.limits import EVERY_MODEL, Limit
from quotas.models import Catalogue, Plan, ServedModel

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
LONGEST_GRACE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Issued:
    """A key with its text, which is shown once and cannot be read again."""

    key: ApiKey
    text: str = field(repr=False)
    publication: Publication


def needed_peppers() -> dict[str, int]:
    """How many secrets that still work, of keys and of the API's credentials, need which pepper, by its id."""
    now = timezone.now()
    in_time = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    living = KeySecret.objects.filter(
        in_time, Q(key__expires_at__isnull=True) | Q(key__expires_at__gt=now), key__revoked_at__isnull=True
    )
    counts = Counter(dict(living.values_list("pepper").annotate(secrets=Count("id")).order_by()))
    for credential in (ManagementKey, OperatorToken):
        counts.update(credential.objects.filter(in_time, revoked_at=None).values_list("pepper", flat=True))
    return counts


def create_account(
    name: str,
    plan: Plan,
    *,
    actor: Actor,
    owner: User | None = None,
    external_id: str | None = None,
    make_so: Callable[[Account], None] | None = None,
) -> tuple[Account, Publication]:
    """Create an active account on a plan; `make_so` sets what else it shall be, in the same transaction."""
    with change() as publication:
        account = standing.new_account(name, plan, external_id)
        account.full_clean(exclude=["plan_since"])
        with transaction.atomic():  # PostgreSQL goes on after a refused INSERT only behind a savepoint
            account.save(force_insert=True)
        if make_so is not None:
            make_so(account)
            account.save()
        if owner is not None:
            account.memberships.create(user=owner, role="owner")
        publication.of_birth(account)
        _record(actor, "account.create", account, account.public_id, None, account_state(account))
    return account, publication


def move_account(account: Account, plan: Plan, *, actor: Actor) -> Publication:
    """Put the account on another plan. What was used stays used."""
    return change_account(account, "account.move", lambda locked: standing.move(locked, plan), actor=actor)


def suspend_account(account: Account, *, actor: Actor) -> Publication:
    """Refuse all calls of the account until it is resumed."""
    return change_account(account, "account.suspend", standing.suspend, actor=actor)


def resume_account(account: Account, *, actor: Actor) -> Publication:
    """End a suspension."""
    return change_account(account, "account.resume", standing.resume, actor=actor)


def close_account(account: Account, *, actor: Actor) -> Publication:
    """Refuse all calls of the account until an operator reopens it."""
    return change_account(account, "account.close", standing.close, actor=actor)


def reopen_account(account: Account, *, actor: Actor) -> Publication:
    """Undo the closing. Keys that were not revoked work again; so do the account's people and management keys."""
    return change_account(account, "account.reopen", standing.reopen, actor=actor)


def cap_keys(account: Account, most: int | None, *, actor: Actor) -> Publication:
    """Let the account have so many living keys; None: as many as its plan says. Keys that it has stay."""

    def capped(locked: Account) -> None:
        locked.max_keys = most

    return change_account(account, "account.cap_keys", capped, actor=actor)


def rename_account(account: Account, name: str, *, actor: Actor) -> Publication:
    return change_account(account, "account.rename", lambda locked: standing.rename(locked, name), actor=actor)


def call_account_by(account: Account, external_id: str | None, *, actor: Actor) -> Publication:
    """Give the account another external id; None takes it away."""

    def called(locked: Account) -> None:
        if external_id is None:
            locked.external_id = None
        else:
            standing.call_by(locked, external_id)

    return change_account(account, "account.external_id", called, actor=actor)


def change_account(account: Account, act: str, make_so: Callable[[Account], None], *, actor: Actor) -> Publication:
    """Let `make_so` change the locked account and its overrides; check, save, write down and publish what it did."""
    with change() as publication:
        _lock(account)
        before, columns, was_closed = account_state(account), _columns(account), account.closed_at is not None
        make_so(account)
        now = _columns(account)
        changed = [name for name in now if now[name] != columns[name]]
        if changed:
            # What stays is not checked again: a name of before may be one that nobody could give today.
            account.full_clean(exclude=set(now) - set(changed))
            account.save(update_fields=changed)
        after = account_state(account)
        if before != after:
            _record(actor, act, account, account.public_id, before, after)
        if was_closed is not (account.closed_at is not None):
            publication.of_account_with_keys(account)
        else:  # also if nothing is different: who repeats it because the first answer was "pending" wants it published
            publication.of_account(account)
    return publication


def _columns(account: Account) -> dict[str, Any]:
    return {field.name: getattr(account, field.attname) for field in Account._meta.concrete_fields}


def override_limit(
    account: Account, name: str, amount: int | None, *, actor: Actor, burst: int | None = None
) -> Publication:
    """Give the account another amount for the limit of this name; None takes the override away."""
    with change() as publication:
        _lock(account)
        before = account_state(account)
        existing = account.overrides.filter(limit_name=name).first()
        if amount is None:
            if existing is not None:
                existing.delete()
        else:
            limit = account.plan.limits.filter(name=name).first()
            if limit is None:
                known = ", ".join(account.plan.limits.values_list("name", flat=True)) or "none"
                raise Refused(f"The plan {account.plan.name} has no limit named {name!r}; it has: {known}.")
            overridden = replace(limit.value(), amount=amount, burst=limit.burst if burst is None else burst)
            hold([overridden], costs_of(account.plan, None))
            if existing is None:
                caps.require_room_for_an_override(account)
            override = existing or AccountOverride(account=account, limit_name=name)
            override.amount, override.burst = amount, burst
            override.full_clean()
            override.save()
        publication.of_account(account)
        after = account_state(account)
        if before != after:
            _record(actor, "account.override", account, account.public_id, before, after)
    return publication


def set_role(
    account: Account, user: User, role: str | None, *, actor: Actor, keep_management_keys: bool = False
) -> LeftBehind:
    """Give a person a role in the account; None takes the membership away. The gate knows nothing of people.

    Who has less than before loses the management keys that they could not make any more, unless those are kept.
    `members.py` asks first whether the actor may do this.
    """
    with transaction.atomic():
        # So that two cannot pass the cap at once, and nobody makes a management key by a role that is being taken away.
        models_base(Account).select_for_update().get(pk=account.pk)
        existing = account.memberships.filter(user=user).first()
        old = existing.role if existing else None
        before = {"user": user.get_username(), "role": old} if old else None
        if role is None:
            if existing is not None:
                existing.delete()
        else:
            if existing is None:
                caps.require_room_for_a_member(account)
            member = existing or Membership(account=account, user=user)
            member.role = role
            member.full_clean()
            member.save()
        after = {"user": user.get_username(), "role": role} if role else None
        if before == after:
            return LeftBehind()
        _record(actor, "account.member", account, account.public_id, before, after)
        if not is_lower(role, old):
            return LeftBehind()
        return settle(user, actor=actor, account=account, keep=keep_management_keys)


def create_first_operator(*, username: str, email: str, password: str, address: str) -> User:
    """Make the superuser that the others are made by. Raises Refused when there is one: of two at once, one wins."""
    with transaction.atomic():
        _lock_people()
        if User.objects.filter(is_superuser=True, is_active=True).exists():
            raise Refused("There is an operator already.")
        user = User.objects.create_superuser(username, email, password)
        rights = {"is_active": True, "is_staff": True, "is_superuser": True}
        _record(Actor(username, address, user), "user.first_operator", None, username, None, rights)
    return user


def _lock_people() -> None:
    """Let nobody else add or change a user until this transaction ends. On SQLite every transaction is alone."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            cursor.execute(f"LOCK TABLE {connection.ops.quote_name(User._meta.db_table)} IN SHARE ROW EXCLUSIVE MODE")


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
    """Create a key. The text returned beside it is shown once and cannot be read again.

    A form brings the last 8 characters of the public id with it (`key_id`), so that sending it twice issues once. With
    an Idempotency-Key comes the secret that is derived from it.
    """
    with change() as publication:
        _lock(account)
        if account.closed_at:
            raise Refused(f"The account {account} is closed: it gets no new keys.")
        public_id = account.public_id + key_id if key_id else keys.new_key_id(account.public_id)
        if ApiKey.objects.filter(public_id=public_id).exists():
            raise Refused(f"The key {public_id} was issued already, and its secret was shown then.")
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
            raise ValidationError({"expires_at": "This time has passed."})
        key.full_clean(exclude=["public_id"])
        key.save()
        _narrow(key, limits)
        new = _add_secret(key, secret)
        publication.of_birth(key)
        _record(actor, "key.issue", account, key.public_id, None, key_state(key))
    return Issued(key, new.text, publication)


def change_key(key: ApiKey, *, actor: Actor, **changes: Any) -> Publication:
    """Change name, models, networks, methods, limits, expires_at or metadata: only what is given."""
    with change() as publication:
        if "expires_at" in changes:
            _lock(key.account)  # an expired key that lives again counts; before the key's lock, as everybody does
        _lock(key)
        before, was_living, metadata = key_state(key), caps.is_living(key), key.metadata
        limits = changes.pop("limits", None)
        had_name = key.name
        _set(key, **changes)
        if caps.is_living(key) and not was_living:
            caps.require_room_for_a_key(key.account)
        # A name of before that nobody could give today stands in the way of no other change.
        key.full_clean(exclude={"name"} if key.name == had_name else None)
        key.save(update_fields=_CHANGEABLE)
        if limits is not None:
            _narrow(key, limits)
        publication.of_key(key)
        after = key_state(key)
        if key.metadata != metadata:
            after["metadata"] = "changed"  # its values are the account's own, and may have to be forgotten
        _record(actor, "key.change", key.account, key.public_id, before, after)
    return publication


def check_key(**changes: Any) -> None:
    """Raise the ValidationError that a key with these models, networks and methods would be refused for."""
    _set(ApiKey(), **changes)


def rotate_key(
    key: ApiKey, *, grace: timedelta, actor: Actor, version: int | None = None, secret: str | None = None
) -> Issued:
    """Give the key a new secret. The one before lives on for the grace of 0 to 7 days; those before that end now.

    A form brings the key's version with it, so that sending it twice rotates once.
    """
    if not timedelta(0) <= grace <= LONGEST_GRACE:
        raise ValidationError({"grace": "A grace is between 0 and 7 days."})
    with change() as publication:
        _lock(key)
        if key.revoked_at:
            raise Refused(f"The key {key.public_id} is revoked: issue a new one.")
        if version not in (None, key.version):
            raise Refused(f"The key {key.public_id} has changed since this form was opened: open it again.")
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
        _record(actor, "key.rotate", key.account, key.public_id, None, {"old_until": ends.isoformat()})
    return Issued(key, new.text, publication)


def end_rotation(key: ApiKey, *, actor: Actor) -> Publication:
    """End the grace of old secrets now."""
    with change() as publication:
        now = timezone.now()
        for secret in key.secrets.filter(expires_at__gt=now):
            secret.expires_at = now
            secret.save(update_fields=["expires_at"])
        publication.of_key(key)
        _record(actor, "key.end_rotation", key.account, key.public_id, None, {"old_until": now.isoformat()})
    return publication


def revoke_key(key: ApiKey, *, actor: Actor) -> Publication:
    """End the key for good: its next request is refused. Revoking twice is no error."""
    with change() as publication:
        _lock(key)
        before = key_state(key)
        if key.revoked_at is None:
            key.revoked_at = timezone.now()
            key.save(update_fields=["revoked_at"])
            _record(actor, "key.revoke", key.account, key.public_id, before, key_state(key))
        # Also the second time: who repeats it because the first answer was "pending" wants it published.
        publication.of_key(key)
    return publication


def change_catalogue(apply: Callable[[], Iterable[str]], *, actor: Actor) -> tuple[list[str], Publication]:
    """Run a change of models, plans or limits that returns what it changed, a line each."""
    with change() as publication:
        lines = list(apply())
        if lines:
            publication.of_catalogue()
            _record(actor, "catalogue.change", None, "catalogue", None, {"changed": lines})
        elif not Catalogue.objects.filter(pk=1).exists():
            publication.of_catalogue()
    return lines, publication


def import_key(account: Account, *, name: str, digest_of_text: bytes, start: str, actor: Actor) -> Issued:
    """Take over a key of another system by its SHA-256; gates take it with AUTHSVC_IMPORTED_KEYS=1."""
    pepper = peppers()[0]
    with change() as publication:
        _lock(account)
        if account.closed_at:
            raise Refused(f"The account {account} is closed: it gets no new keys.")
        caps.require_room_for_a_key(account)
        key = ApiKey(
            account=account, public_id=keys.new_key_id(account.public_id), created_by=actor.user,
            made_with=actor.made_with,
        )  # fmt: skip
        _set(key, name=name)
        key.full_clean(exclude=["public_id"])
        key.save()
        KeySecret.objects.create(
            key=key, digest=keys.digest_of_hash(digest_of_text, pepper).hex(), pepper=pepper.id,
            minted_pepper=pepper.id, start=start, is_imported=True,
        )  # fmt: skip
        publication.of_birth(key)
        _record(actor, "key.import", account, key.public_id, None, key_state(key))
    return Issued(key, "", publication)


def note_last_uses(last_uses: Mapping[int, datetime]) -> None:
    """Fold in when secrets were last used; never back in time. The gate does not need to know."""
    secrets = models_base(KeySecret)
    for pk, moment in sorted(last_uses.items()):
        secrets.filter(Q(last_used_at__isnull=True) | Q(last_used_at__lt=moment), pk=pk).update(last_used_at=moment)


def store_new_digests(partitions: Iterable[str]) -> int:
    """Store the digests that gates made under the current pepper when a key was used; their number."""
    client = store.sync_client()
    count = 0
    for part in partitions:
        for secret_id, new in client.hgetall(names.new_digests(part)).items():
            pepper, _, digest = new.partition(":")
            count += _store_new_digest(int(secret_id), pepper, digest)
            client.hdel(names.new_digests(part), secret_id)
    return count


def _store_new_digest(secret_id: int, pepper: str, digest: str) -> bool:
    with change() as publication:
        key = models_base(ApiKey).select_for_update().filter(secrets=secret_id).first()  # first, as everybody does
        secret = models_base(KeySecret).select_for_update().filter(pk=secret_id).first()
        if key is None or secret is None or secret.pepper == pepper or pepper != peppers()[0].id:
            return False
        first_foreign = not KeySecret.objects.exclude(pepper=F("minted_pepper")).exists()
        secret.pepper, secret.digest = pepper, digest
        secret.save(update_fields=["pepper", "digest"])
        publication.of_key(key)
        if first_foreign:
            publication.of_catalogue()  # from now on a check may belong to a pepper that is gone
    return True


_CHANGEABLE = ["name", "narrowed_to", "networks", "methods", "expires_at", "metadata"]  # never the version


def _lock(row: Account | ApiKey) -> None:
    """Wait for whoever changes the row, and see what they made of it."""
    row.refresh_from_db(from_queryset=models_base(type(row)).select_for_update())


def _set(key: ApiKey, **changes: Any) -> None:
    """Check what is given, and put it into the row."""
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
        of_plan = listed(plan) if plan is not None else ""  # a form's key is nobody's yet
        raise ValidationError({"models": f"Unknown model {in_words(unknown)}{of_plan}."})
    if not wanted:
        raise ValidationError({"models": "Name at least one model, or leave it out for all models of the plan."})
    return wanted


def _networks(networks: Sequence[str]) -> list[str]:
    caps.at_most(caps.MOST_NETWORKS, len(networks), "networks")
    try:
        return [str(network) for network in read_networks(networks)]
    except ValueError as error:
        raise ValidationError({"networks": f"{error}. {HINT}"}) from error


def _methods(methods: Sequence[str]) -> list[str]:
    unknown = set(methods) - set(METHODS)
    if unknown:
        raise ValidationError({"methods": f"{', '.join(sorted(unknown))} is none of {', '.join(METHODS)}."})
    return list(dict.fromkeys(methods))


def _narrow(key: ApiKey, limits: Sequence[Limit]) -> None:
    """Make these the key's own limits. One whose counter stays is counted since when it was."""
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
            key=key, name=limit.name, model=model, amount=limit.amount, window=limit.window,
            unit=limit.unit, burst=limit.burst, counted_since=since.get(limit.identity) or timezone.now(),
        )  # fmt: skip
        try:
            row.full_clean()
        except ValidationError as error:
            raise ValidationError({"limits": [f"{limit.name}: {text}" for text in error.messages]}) from error
        row.save()


def costs_of(plan: Plan, narrowed_to: list[str] | None) -> dict[str, int]:
    """What a call costs, of the models that can be called."""
    models = plan.included()
    if narrowed_to is not None:
        models = models.filter(slug__in=narrowed_to)
    return dict(models.values_list("slug", "cost"))


def hold(limits: Sequence[Limit], costs: Mapping[str, int], *, of: str = "limits") -> None:
    """Refuse limits that no plan may have either."""
    named = {limit.model for limit in limits} - {EVERY_MODEL}
    unknown = named - set(ServedModel.objects.filter(slug__in=named).values_list("slug", flat=True))
    faults = [f"Unknown model {slug}." for slug in sorted(unknown)]
    faults += [f"{limit.name}: {text}" for limit in limits for _, text in rules.out_of_range(limit)]
    faults += [text for _, text in rules.doubles(limits)]
    faults += [text for _, text in rules.costs_that_never_fit(limits, costs)]
    if faults:
        raise ValidationError({of: faults})


def _add_secret(key: ApiKey, secret: str | None) -> keys.NewKey:
    new = keys.new_key(key.public_id, settings.KEY_PREFIX, peppers()[0], secret)
    KeySecret.objects.create(key=key, digest=new.digest, pepper=new.pepper, minted_pepper=new.pepper, start=new.start)
    return new


def _forget_old_secrets(key: ApiKey) -> None:
    """Keep the newest of a key's secrets, and an imported one, whose digest says that it was imported already."""
    newest = key.secrets.order_by("-id").values_list("pk", flat=True)[: caps.KEPT_SECRETS]
    models_base(KeySecret).filter(key=key, is_imported=False).exclude(pk__in=list(newest)).delete()


def _record(actor: Actor, act: str, account: Account | None, subject: str, before: Any, after: Any) -> None:
    record_act(actor, act, subject, account=account, before=before, after=after)


def account_state(account: Account) -> dict[str, Any]:
    """What the audit log says of an account."""
    return {
        "name": account.name,
        "external_id": account.external_id,
        "plan": account.plan.name,
        "state": account.state,
        "overrides": {o.limit_name: {"amount": o.amount, "burst": o.burst} for o in account.overrides.all()},
        "max_keys": account.max_keys,
    }


def key_state(key: ApiKey, limits: Iterable[KeyLimit] | None = None) -> dict[str, Any]:
    """What the audit log says of a key. Who knows its limits spares the query for them."""
    return {
        "name": key.name,
        "models": key.narrowed_to,
        "networks": key.networks,
        "methods": key.methods,
        "limits": {
            limit.name: f"{limit.amount}/{limit.window}" for limit in (key.limits.all() if limits is None else limits)
        },
        "expires_at": key.expires_at and key.expires_at.isoformat(),
        "revoked_at": key.revoked_at and key.revoked_at.isoformat(),
    }
