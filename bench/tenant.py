"""The cost of a tenant at its worst: bytes in Redis and in a gate process, for each key and a whole account.

    python -m bench.tenant

Starts its own Redis, makes keys with everything a key may have, asks the gate about each, revokes them, and closes the
account.
"""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

KEYS = 50


def main() -> None:
    from tests.servers import redis_server

    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as socket:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "authsvc.settings",
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "SECRET_KEY": "x" * 50,
            "KEY_PEPPER": "y" * 50,
            "REDIS_URL": f"unix://{socket}",
        }
        _measure()


def _measure() -> None:
    import django

    django.setup()
    from django.core.management import call_command

    from accounts import caps
    from accounts.services.accounts import close_account, create_account
    from accounts.services.acts import Actor
    from accounts.services.catalogue import change_catalogue
    from accounts.services.keys import LONGEST_GRACE, issue_key, revoke_key, rotate_key
    from quotas.catalogue.applying import apply
    from quotas.catalogue.file import read_catalogue_file
    from quotas.limits import Limit
    from quotas.models import Plan
    from store import clients, names

    call_command("migrate", verbosity=0)
    actor = Actor("bench")
    change_catalogue(lambda: apply(read_catalogue_file(Path("deploy/catalogue.toml"))), actor=actor)
    account, _ = create_account("worst", Plan.objects.get(name="pro"), actor=actor)
    most_limits, most_networks = getattr(caps, "MOST_LIMITS", 10), getattr(caps, "MOST_NETWORKS", 20)
    kinds = [
        (window, unit, model)
        for window in ("day", "month", "hour", "minute", "second")
        for unit in ("requests", "units")
        for model in ("*", "en_core_web_sm", "fr_core_news_md")
    ]
    limits = [
        Limit(name=f"{number:02}-{'x' * 60}", scope="key", amount=10**6, window=window, unit=unit, model=model)
        for number, (window, unit, model) in enumerate(kinds[:most_limits])
    ]
    networks = [f"2001:db8:{one:x}:ffff:ffff:ffff:ffff:fff0/124" for one in range(most_networks)]
    client = clients.sync_client()
    where = names.account(account.public_id)

    def told(what: str) -> int:
        size = int(client.memory_usage(where, samples=0) or 0)
        print(f"{what:<60} {size:>9,} bytes in Redis, {size // KEYS:>7,} per key")
        return size

    issued = [issue_key(account, name="k", actor=actor, limits=limits, networks=networks) for _ in range(KEYS)]
    told(f"{KEYS} keys with {len(limits)} limits and {len(networks)} networks")
    print(f"{'their facts in a gate process':<60} {_in_a_process(issued):>9,} bytes per key")
    for one in issued:
        for _ in range(20):
            rotate_key(one.key, grace=LONGEST_GRACE, actor=actor)
    told("after 20 rotations of each")
    for one in issued[: KEYS // 2]:
        revoke_key(one.key, actor=actor)
    told("half of them revoked")
    for one in issued[KEYS // 2 :]:
        revoke_key(one.key, actor=actor)
    told("all of them revoked")
    close_account(account, actor=actor)
    told("the account closed")


def _in_a_process(issued: Sequence[object]) -> int:
    """Bytes, by tracemalloc, for each key that was asked about once and refused for its address."""
    from authsvc.gate.app import Gate

    async def run() -> int:
        gate = Gate()
        gate.open()
        headers = [(b"x-forwarded-uri", b"/en_core_web_sm/ner"), (b"x-forwarded-method", b"POST")]
        first, *others = [getattr(one, "text").encode() for one in issued]  # noqa: B009
        asked = [*headers, (b"x-forwarded-for", b"203.0.113.7")]
        await gate.answer("/auth/", b"model=en_core_web_sm", [*asked, (b"authorization", b"Bearer " + first)])
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for text in others:
            await gate.answer("/auth/", b"model=en_core_web_sm", [*asked, (b"authorization", b"Bearer " + text)])
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        await gate.close()
        return taken // len(others)

    return asyncio.run(run())


if __name__ == "__main__":
    main()
