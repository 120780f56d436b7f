"""manage.py check_pepper: how many keys still need the old pepper."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db.models import Count, Q
from django.utils import timezone

from accounts.models import KeySecret, ManagementKey, OperatorToken
from accounts.services import peppers
from authsvc.commands import OperatorCommand

STILL_NEEDED = 1


class Command(OperatorCommand):
    help = "Say which peppers the stored digests need; exit status 1 while any but KEY_PEPPER is needed."

    def handle(self, *args: Any, **options: Any) -> None:
        known = {pepper.id: name for pepper, name in zip(peppers(), ("KEY_PEPPER", "KEY_PEPPER_OLD"), strict=False)}
        now = timezone.now()
        living = KeySecret.objects.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=now),
            Q(key__expires_at__isnull=True) | Q(key__expires_at__gt=now),
            key__revoked_at__isnull=True,
        )
        counts = Counter(dict(living.values_list("pepper").annotate(secrets=Count("id")).order_by()))
        for model in (ManagementKey, OperatorToken):
            in_force = model.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now), revoked_at=None)
            counts.update(in_force.values_list("pepper", flat=True))
        current = peppers()[0].id
        for pepper, count in sorted(counts.items()):
            self.stdout.write(f"{count} secrets need {known.get(pepper, 'a pepper that is not set')} ({pepper})")
        needed = sum(count for pepper, count in counts.items() if pepper != current)
        if needed:
            self.stdout.write(f"Keep KEY_PEPPER_OLD: {needed} secrets have not been used since the change.")
            raise SystemExit(STILL_NEEDED)
        self.stdout.write("KEY_PEPPER_OLD is not needed.")
