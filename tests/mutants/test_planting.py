"""Mutants rot as the code changes: each has to apply, and to name tests that exist."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest

from tests.mutants.planting import Mutant, mutants
from tests.servers import ROOT

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="patches are applied by git")

ALL = mutants()
FEWEST = 60
AREAS = {"access", "gate", "keys", "ledger", "publishing", "script", "sign-in"}


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_a_mutant_applies_and_names_tests_that_exist(mutant: Mutant):
    assert mutant.fault(ROOT) == ""
    assert mutant.sentence.endswith(".")
    assert mutant.first_tests
    for path in mutant.first_tests:
        assert (ROOT / path).exists(), path


def test_there_are_mutants_of_every_area():
    found = Counter(mutant.patch.parent.name for mutant in ALL)
    assert set(found) == AREAS
    assert found.total() >= FEWEST
    assert min(found.values()) >= 5


def test_a_patch_that_does_not_fit_is_told(tmp_path):
    with pytest.raises(ValueError, match="does not apply"):
        ALL[0].plant(tmp_path)
