"""A Redis belongs to the first deployment that claims it."""

from __future__ import annotations

import pytest

from store import names
from store.ownership import AnotherDeployment, claim, owner


def test_the_first_to_claim_a_redis_keeps_it(redis_db):
    assert owner() is None
    for _ in range(2):
        claim("ours")
        assert owner() == "ours"
    for _ in range(2):
        with pytest.raises(AnotherDeployment, match="FLUSHDB"):
            claim("theirs")
        assert owner() == "ours"
    assert redis_db.ttl(names.DEPLOYMENT) == -1


def test_a_refusal_names_both_deployments_by_what_is_no_secret(redis_db):
    claim("0123456789abcdef")
    with pytest.raises(AnotherDeployment) as refusal:
        claim("fedcba9876543210")
    assert "01234567…" in str(refusal.value) and "fedcba98…" in str(refusal.value)
    assert "89abcdef" not in str(refusal.value)
