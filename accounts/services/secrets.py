"""Updates of secrets after their use: the last use, and digests under a new pepper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from django.db.models import Count, F, Q
from django.utils import timezone

from accounts.facts.publish import change, models_base
from accounts.models import (
    Account,
    ApiKey,
    KeySecret,
    ManagementKey,
    OperatorToken,
)
from accounts.peppers import peppers
from quotas.usage.ledger import LastUse
from store import clients, names


def needed_peppers() -> dict[str, int]:
    """How many working secrets of keys and API credentials need each pepper, by the pepper's id."""
    now = timezone.now()
    working = KeySecret.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), key__in=ApiKey.objects.living())
    counts = Counter(dict(working.values_list("pepper").annotate(secrets=Count("id")).order_by()))
    for credential in (ManagementKey, OperatorToken):
        counts.update(credential.objects.active().values_list("pepper", flat=True))
    return counts


def note_last_uses(last_uses: Mapping[int, LastUse]) -> None:
    """Record when and from where secrets were last used, never an earlier use than before. The gate doesn't need this.

    What a closed account's secrets were used for before is copied afterwards, and no longer concerns anybody.
    """
    secrets = models_base(KeySecret).filter(key__account__closed_at=None)
    for pk, (moment, address) in sorted(last_uses.items()):
        is_news = Q(last_used_at=None) | Q(last_used_at__lt=moment)
        if address is not None:  # another one may have been copied earlier in this second
            is_news |= Q(last_used_at=moment) & ~Q(last_used_from=address)
        secrets.filter(is_news, pk=pk).update(last_used_at=moment, last_used_from=address)


def forget_addresses(account: Account) -> None:
    """Forget from where the account's secrets were last used. The gate doesn't know it."""
    models_base(KeySecret).filter(key__account=account).update(last_used_from=None)


def store_new_digests(partitions: Iterable[str]) -> int:
    """Store the digests that gates computed under the current pepper when keys were used. Returns their number."""
    client = clients.sync_client()
    count = 0
    for part in partitions:
        for secret_id, new in client.hgetall(names.new_digests(part)).items():
            pepper, _, digest = new.partition(":")
            count += _store_new_digest(int(secret_id), pepper, digest)
            client.hdel(names.new_digests(part), secret_id)
    return count


def _store_new_digest(secret_id: int, pepper: str, digest: str) -> bool:
    with change() as publication:
        key = (
            models_base(ApiKey).select_for_update().filter(secrets=secret_id).first()
        )  # before the secret, like everybody else
        secret = models_base(KeySecret).select_for_update().filter(pk=secret_id).first()
        if key is None or secret is None or secret.pepper == pepper or pepper != peppers()[0].id:
            return False
        first_foreign = not KeySecret.objects.exclude(pepper=F("minted_pepper")).exists()
        secret.pepper, secret.digest = pepper, digest
        secret.save(update_fields=["pepper", "digest"])
        publication.of_key(key)
        if first_foreign:
            publication.of_catalogue()  # from now on a key's check may have been made with a pepper that is gone
    return True
