"""A run of these tests that is killed cannot remove its stacks; the next run does it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.compose.engine import clear_killed_runs, docker, free_name, why_not
from tests.servers import ROOT

IMAGE = "redis:8"
# What a stack has of each kind, and a container of a plain `docker run` in its network.
START = f"""
import time
from tests.compose.engine import docker, free_name
project = free_name("killed")
docker("network", "create", f"{{project}}_data")
docker("volume", "create", f"{{project}}_redis")
docker("tag", "{IMAGE}", f"{{project}}:local")
docker("run", "-d", "--name", f"{{project}}-redis-1", "-v", f"{{project}}_redis:/data", f"{{project}}:local")
docker("run", "-d", "--network", f"{{project}}_data", "{IMAGE}")
print(project, flush=True)
time.sleep(600)
"""


@pytest.fixture
def other_run():
    if reason := why_not():
        pytest.skip(reason)
    with subprocess.Popen([sys.executable, "-c", START], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process, process.stdout.readline().strip()
        process.kill()


def there_is(name):
    """All that the engine has whose name begins with this one."""
    found = docker("ps", "-a", "--format", "{{.Names}}").split()
    found += docker("network", "ls", "--format", "{{.Name}}").split() + docker("volume", "ls", "-q").split()
    found += docker("image", "ls", "--format", "{{.Repository}}").split()
    return {one for one in found if one.startswith(name)}


def test_what_a_killed_run_left_is_removed_and_nothing_else(other_run):
    process, project = other_run
    mine = free_name("mine")
    of_somebody = "authsvc-of-tests-and-more"  # no number, so no run's
    try:
        for name in (mine, of_somebody):
            docker("volume", "create", f"{name}_redis")
        whole = {f"{project}_data", f"{project}_redis", project, f"{project}-redis-1"}
        clear_killed_runs()
        assert there_is(project) == whole, "while it lives everything stays"
        process.kill()
        process.wait(30)
        clear_killed_runs()
        assert not there_is(project)
        assert there_is(mine) | there_is(of_somebody) == {f"{mine}_redis", f"{of_somebody}_redis"}
    finally:
        docker("volume", "rm", "--force", f"{mine}_redis", f"{of_somebody}_redis")
