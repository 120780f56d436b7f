"""The cache of a process: what goes first, and that its sizes are those of the memory it takes up."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tracemalloc
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from accounts.facts.cache import Cache
from accounts.facts.facts import account_from_json, key_from_json
from accounts.facts.known import HeldKey, KnownKey
from accounts.facts.lookup import Lookup
from authsvc.gate.answer import head
from authsvc.gate.decision import open_rules
from authsvc.gate.grounds import Grounds, charge_for, counting
from quotas.buckets import clock
from quotas.facts import CatalogueFacts, catalogue_from_json
from quotas.limits import CALENDAR, UNITS
from tests.servers import ROOT


def test_what_was_used_last_stays():
    cache: Cache[str, str] = Cache(100)
    for name in "abc":
        cache.keep(name, name, 30)
    cache.entries.move_to_end("a")
    cache.keep("d", "d", 30)
    assert list(cache.entries) == ["c", "a", "d"] and cache.bytes == 90


def test_an_entry_kept_twice_counts_once():
    cache: Cache[str, str] = Cache(100)
    for size in (30, 50, 20):
        cache.keep("a", "x", size)
    assert cache.bytes == 20


def test_a_growing_entry_evicts_others_and_an_evicted_one_grows_nothing():
    cache: Cache[str, list[int]] = Cache(100)
    old, new = [1], [2]
    cache.keep("a", old, 40)
    cache.keep("b", [], 40)
    cache.keep("a", new, 40)
    cache.grow("a", old, 1000)
    assert cache.bytes == 80
    cache.grow("a", new, 30)
    assert list(cache.entries) == ["a"] and cache.bytes == 70
    cache.grow("b", [], 30)
    assert cache.bytes == 70


def test_an_entry_larger_than_the_cache_is_kept_alone():
    cache: Cache[str, str] = Cache(100)
    cache.keep("a", "a", 10)
    cache.keep("b", "b", 1000)
    assert list(cache.entries) == ["b"]


def limit(number: int, scope: str) -> dict[str, object]:
    window, unit = CALENDAR[number % 2], UNITS[number // 2 % 2]
    return {
        "name": f"limit-{number}",
        "scope": scope,
        "amount": 1000 + number,
        "window": window,
        "unit": unit,
        "model": "*" if number < 4 else f"m{number}",
        "burst": None,
        "shadow": False,
        "since": 1_700_000_000_000_000,
    }


def catalogue() -> CatalogueFacts:
    models = {f"m{number}": {"path": f"/m{number}", "cost": 1, "enabled": True} for number in range(30)}
    plan = {"models": ["*"], "limits": [limit(0, "key"), limit(1, "account")]}
    return catalogue_from_json(
        json.dumps({"version": 1, "models": models, "plans": {"free": plan}, "foreign_checks": False})
    )


SHAPES = {
    "usual": {"models_called": 1},
    "never called": {"models_called": 0},
    "all that a key may have": {"networks": 20, "limits": 10, "secrets": 4, "models_called": 1},
    "overridden": {"overrides": 10, "models_called": 0},
    "many models": {"models_called": 20, "narrowed": 20},
    "over": {"secrets": 0, "models_called": 0},
}


def known(
    number: int, facts: CatalogueFacts, *, networks=0, limits=0, secrets=1, narrowed=0, overrides=0, models_called=1
):
    key = {
        "public_id": f"AAAAAAAA{number:08d}",
        "version": 1000 + number,
        "methods": [],
        "expires": None,
        "revoked": False,
        "secrets": [
            {"id": 1000 + number * 10 + one, "digest": f"{number * 10 + one:056x}", "pepper": "abcdefgh", "until": None}
            for one in range(secrets)
        ],
        "models": [f"m{one}" for one in range(narrowed)] or None,
        "networks": [
            f"203.0.{number % 256}.{one}/32" if one % 2 else f"2001:db8::{one:x}/128" for one in range(networks)
        ],
        "limits": [limit(one, "key") for one in range(limits)],
    }
    account = {
        "public_id": "AAAAAAAA",
        "version": 1000 + number,
        "state": "active",
        "plan": "free",
        "plan_since": number,
        "overrides": {f"limit-{one}": {"amount": 1000 + number, "burst": None} for one in range(overrides)},
    }
    return KnownKey.of(key_from_json(json.dumps(key)), account_from_json(json.dumps(account)), facts)


def remember(cache: Cache[str, HeldKey], one: KnownKey, facts: CatalogueFacts, models_called: int) -> None:
    """As a gate does that is asked about it, and passes it."""
    held = HeldKey(one)
    cache.keep(one.key.public_id, held, one.size())
    keeper: Any = SimpleNamespace(cache=cache)
    lookup: Any = SimpleNamespace(keep_beside=partial(Lookup.keep_beside, keeper))
    counting(held, facts.models["m0"], lookup).packed("revoked_key", clock.hour())
    for number in range(models_called):
        model, secret = facts.models[f"m{number}"], one.key.secrets[0]
        grounds = Grounds(one, secret, model, charge_for(one, model, secret))
        grounds.open_rules = tuple(open_rules(grounds))
        grounds.keep(held, lookup)
        grounds.charge.packed("take", clock.hour())
        head(grounds, (1, 2) * len(grounds.charge.shown), b"x" * 24)


def sizes_of(shape: str) -> tuple[float, float]:
    """Bytes that an entry takes up, and those that the cache counts for it."""
    count, more, facts = 300, SHAPES[shape], catalogue()
    remember(Cache(10**9), known(0, facts, **more), facts, more["models_called"])  # what is made once for all
    gc.collect()
    tracemalloc.start()
    try:
        cache: Cache[str, HeldKey] = Cache(10**9)
        before = tracemalloc.get_traced_memory()[0]
        for number in range(count):
            remember(cache, known(number, facts, **more), facts, more["models_called"])
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    return taken / count, cache.bytes / count


@pytest.fixture(scope="module")
def sizes() -> dict[str, tuple[float, float]]:
    """Of each shape, measured in a process of its own: what threads of other tests allocate would be counted here."""
    code = (
        "import django, json; django.setup(); from tests.accounts.facts.test_cache import SHAPES, sizes_of; "
        "print(json.dumps({shape: sizes_of(shape) for shape in SHAPES}))"
    )
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, tuple[float, float]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_the_size_of_an_entry_is_about_what_it_takes_up(sizes, shape):
    taken, counted = sizes[shape]
    assert 0.65 * counted < taken < 1.05 * counted
