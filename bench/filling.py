"""Fill a database and Redis with keys: bench.servers.gate runs this with their addresses in its environment.

    python -m bench.filling --accounts 20 --keys 20 --write FILE

Rows are inserted in bulk, as no service would, and everything is published as after a loss of Redis. FILE gets the key
strings, one a line. The last line of output is JSON: the seconds of each step.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

CATALOGUE = """
[models.en_core_web_sm]
[plans.bench]
models = ["*"]
limits = [
  { name = "second", per = "key", amount = 1000000, window = "second" },
  { name = "minute", per = "account", amount = 1000000, window = "minute", burst = 1000000 },
  { name = "month", per = "account", amount = 1000000000, window = "month", unit = "units" },
]
"""
PIECE = 20_000
TOLD_EVERY = 10  # pieces


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.filling", description=__doc__)
    parser.add_argument("--accounts", type=int, required=True)
    parser.add_argument("--keys", type=int, required=True)
    parser.add_argument("--write", type=Path, required=True)
    options = parser.parse_args()
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as catalogue:
        catalogue.write(CATALOGUE)
        catalogue.flush()
        call_command("apply_catalogue", catalogue.name, verbosity=0)
    took: dict[str, float] = {}
    with _timed(took, "rows"), options.write.open("w", encoding="ascii") as file:
        accounts = _make_accounts(options.accounts)
        for number, texts in enumerate(_make_keys(accounts, options.keys), 1):
            file.writelines(f"{text}\n" for text in texts)
            if number % TOLD_EVERY == 0:
                print(f"  {number * PIECE:,} of {options.keys:,} keys stored", file=sys.stderr, flush=True)
    with _timed(took, "publishing"):
        publish()
    print(json.dumps(took))


def publish() -> int:
    """Publish everything into an empty Redis, as the worker does."""
    from django.utils import timezone

    from accounts.facts import delivery
    from store import clients, names

    count = delivery.publish_everything()
    clients.sync_client().set(names.LIFE, timezone.now().isoformat())
    return count


def _make_accounts(count: int) -> list[tuple[int, str]]:
    """Their primary keys and public ids."""
    from django.utils import timezone

    from accounts.keys import new_account_id
    from accounts.models import Account
    from quotas.models import Plan

    plan, now = Plan.objects.get(name="bench"), timezone.now()
    rows = [
        Account(
            public_id=new_account_id(), name=f"bench {number}", external_id=f"bench-{number}", plan=plan, plan_since=now
        )
        for number in range(count)
    ]
    return [(row.pk, row.public_id) for row in Account.objects.bulk_create(rows, batch_size=1000)]


def _make_keys(accounts: list[tuple[int, str]], count: int) -> Iterator[list[str]]:
    """Their strings, piece by piece."""
    from django.conf import settings
    from django.db import transaction

    from accounts.keys import new_key, new_key_id
    from accounts.models import ApiKey, KeySecret
    from accounts.peppers import peppers
    from runtime.insertion import insert

    pepper = peppers()[0]
    alike = {"pepper": pepper.id, "minted_pepper": pepper.id}
    for start in range(0, count, PIECE):
        numbers = range(start, min(start + PIECE, count))
        whose = [accounts[number % len(accounts)] for number in numbers]
        made = [new_key(new_key_id(public_id), settings.KEY_PREFIX, pepper) for _, public_id in whose]
        keys = ((number + 1, pk, new.public_id) for number, (pk, _), new in zip(numbers, whose, made, strict=True))
        secrets = ((number + 1, new.digest, new.start) for number, new in zip(numbers, made, strict=True))
        with transaction.atomic():
            insert(ApiKey, ["id", "account_id", "public_id"], keys, name="bench")
            insert(KeySecret, ["key_id", "digest", "start"], secrets, **alike)
        yield [new.text for new in made]


@contextmanager
def _timed(took: dict[str, float], step: str) -> Iterator[None]:
    begin = perf_counter()
    yield
    took[step] = perf_counter() - begin


if __name__ == "__main__":
    main()
