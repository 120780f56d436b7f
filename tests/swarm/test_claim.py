"""The tests use names and volumes of the swarm that somebody may have; they touch only what is their own."""

from __future__ import annotations

import pytest

from tests.swarm.cluster import STACKS, Cluster
from tests.swarm.engine import docker


def stacks_and_volumes():
    return {*docker("stack", "ls", "--format", "{{.Name}}").split(), *docker("volume", "ls", "-q").split()}


def test_a_second_run_stops_before_it_touches_anything(now, tmp_path):
    before = stacks_and_volumes()
    assert before >= {*STACKS, "authsvc_postgres", "authsvc_redis"}
    with pytest.raises(AssertionError, match="another run of these tests"):
        Cluster(tmp_path).claim()
    assert stacks_and_volumes() == before


def test_stacks_without_the_mark_of_the_tests_stay(now, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.swarm.cluster.MARK", "a-mark-that-no-config-has")
    before = stacks_and_volumes()
    with pytest.raises(AssertionError, match="'authsvc', "):
        Cluster(tmp_path).claim()
    assert stacks_and_volumes() == before
