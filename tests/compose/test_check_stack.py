"""`make stack-check` on the shipped stack, and on one with a mistake, because silence alone proves nothing."""

from __future__ import annotations

import subprocess

import pytest

from tests.compose.engine import COMMAND_SECONDS
from tests.servers import ROOT, wait_until

# A model that anyone can call: nothing asks the gate.
OPEN = {
    "traefik.enable": "true",
    "traefik.http.routers.open.entryPoints": "web",
    "traefik.http.routers.open.rule": "Host(`api.localhost`) && PathPrefix(`/fr_core_news_md/open/`)",
    "traefik.http.routers.open.priority": "10000",
    "traefik.http.routers.open.service": "open",
    "traefik.http.services.open.loadBalancer.server.port": "8000",
}


@pytest.fixture
def checked(stack):
    """Exit status and output of the operator's command."""

    def checked():
        done = subprocess.run(
            ["make", "--no-print-directory", "-s", "stack-check"],
            cwd=ROOT,
            env=stack.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        return done.returncode, f"{done.stdout}{done.stderr}"

    return checked


def test_check_stack_finds_nothing_in_the_stack_as_it_is_shipped(checked):
    assert checked() == (0, "Nothing found.\n")


def test_it_finds_a_model_that_bypasses_the_gate(stack, api, checked):
    with stack.beside("open", OPEN):
        wait_until(lambda: api.get("/fr_core_news_md/open/").status_code != 401, "the way around the gate", 60)
        status, said = checked()
    assert status != 0
    assert "open@docker" in said
