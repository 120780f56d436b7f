"""A swarm of one node with the stacks of deploy/swarm on it: begun with the commit before this one.

Only where it is asked for (`pytest -m swarm`, `make stack-swarm`): it needs a Docker engine, which it makes a swarm if
it is none yet, and some minutes.
"""

from __future__ import annotations

import pytest

from tests.swarm.cluster import Cluster
from tests.swarm.engine import why_not


def pytest_collection_modifyitems(config, items):
    ours = [item for item in items if "tests/swarm/" in item.path.as_posix()]
    for item in ours:
        item.add_marker(pytest.mark.swarm)
    if "swarm" not in config.option.markexpr and ours:
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in ours]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    if reason := why_not():
        pytest.skip(f"SKIPPED: no test on a swarm, because {reason}")
    cluster = Cluster(tmp_path_factory.mktemp("swarm"))
    try:
        cluster.begin()
        yield cluster
    finally:
        cluster.end()
