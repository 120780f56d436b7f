"""manage.py check_pepper: how many secrets still need the old pepper."""

from __future__ import annotations

from typing import Any

from accounts.peppers import peppers
from accounts.services.secrets import needed_peppers
from runtime.commands import OperatorCommand

STILL_NEEDED = 1


class Command(OperatorCommand):
    help = (
        "Show which peppers the stored digests need. The exit status is 1 while any pepper except KEY_PEPPER is needed."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        known = {pepper.id: name for pepper, name in zip(peppers(), ("KEY_PEPPER", "KEY_PEPPER_OLD"), strict=False)}
        counts = needed_peppers()
        current = peppers()[0].id
        for pepper, count in sorted(counts.items()):
            self.stdout.write(f"{count} secrets need {known.get(pepper, 'a pepper that is not set')} ({pepper})")
        needed = sum(count for pepper, count in counts.items() if pepper != current)
        if needed:
            self.stdout.write(f"Keep KEY_PEPPER_OLD: {needed} secrets have not been used since the change.")
            raise SystemExit(STILL_NEEDED)
        self.stdout.write("KEY_PEPPER_OLD is not needed.")
