"""docs/adding-a-model.md on the running stack: labels, discovery, a plan, a call; nothing else is affected."""

from __future__ import annotations

import pytest
import yaml

from tests.compose.engine import docker
from tests.compose.test_walls import at, reached
from tests.servers import wait_until

NAME = "newcomer"
ADA = {"text": "Ada Lovelace met Charles Babbage in London."}
SHOW = f"from quotas.models import ServedModel; print(*ServedModel.objects.filter(slug='{NAME}').values_list('path'))"
WRITE = "import pathlib, sys; pathlib.Path('/tmp/catalogue.toml').write_text(sys.argv[1])"
NAMED = f"""
[models.{NAME}]
title = "The newcomer"

[plans.newcomers]
models = ["{NAME}"]
limits = [{{ name = "day", per = "account", amount = 100, window = "day" }}]
"""
GONE = f"[models.{NAME}]\nenabled = false\n"


def apply(stack, catalogue):
    stack.exec("console", "python", "-c", WRITE, catalogue)
    return stack.manage("apply_catalogue", "/tmp/catalogue.toml")


def containers(stack):
    """The id and start time of every running service."""
    ids = docker("ps", "-q", "--filter", f"label=com.docker.compose.project={stack.project}").split()
    lines = docker("inspect", "-f", "{{.Name}} {{.Id}} {{.State.StartedAt}}", *ids).splitlines()
    return {line for line in lines if NAME not in line}


@pytest.fixture
def newcomer(stack):
    """The model runs with the labels that the stack's own command prints."""
    printed = stack.manage("model_labels", NAME, "--port", "8000")
    before = containers(stack)
    with stack.beside(NAME, yaml.safe_load(printed)["services"][NAME]["labels"], MODEL=NAME):
        yield before
        apply(stack, GONE)
    wait_until(lambda: containers(stack) == before, "the stack as it was")


def test_a_model_that_is_added_to_the_running_stack_is_found_named_and_called_and_touches_no_other(
    stack, api, pro, newcomer
):
    path = f"/{NAME}/ner"
    wait_until(lambda: f"/{NAME}" in stack.manage("shell", "-v", "0", "-c", SHOW), "discover to find the model", 60)
    wait_until(lambda: api.get(path).status_code == 401, "its route", 60)
    unnamed = api.post(path, headers=pro, json=ADA)
    assert unnamed.status_code == 403
    assert unnamed.json()["type"].endswith("/errors/insufficient_scope")

    apply(stack, NAMED)
    key = {"Authorization": f"Bearer {stack.issue_key('newcomers', 'newcomers')}"}
    wait_until(lambda: api.get(f"/{NAME}/health", headers=key).status_code == 200, "the model with a key", 60)
    answer = api.post(path, headers=key, json=ADA)
    assert "London" in [entity["text"] for entity in answer.json()["entities"]]
    assert api.post("/en_core_web_sm/ner", headers=key, json=ADA).status_code == 403  # that plan has only the newcomer
    assert api.post(path, headers=pro, json=ADA).status_code == 200  # named by a plan, so part of "*" too
    assert containers(stack) == newcomer


def test_a_model_on_a_network_of_its_own_is_called_reaches_no_other_and_touches_no_other(stack, api, request):
    before = containers(stack)
    printed = stack.manage("model_labels", "apart", "--port", "8000")
    request.addfinalizer(lambda: apply(stack, "[models.apart]\nenabled = false\n"))
    with stack.apart("apart", yaml.safe_load(printed)["services"]["apart"]["labels"], MODEL="apart"):
        wait_until(lambda: api.get("/apart/ner").status_code == 401, "its route", 60)
        others = [*at(stack, "en_core_web_sm", 8000), *at(stack, "gate", 8000), *at(stack, "redis", 6379)]
        assert reached(stack, "apart", others) == []
        assert reached(
            stack, "apart", at(stack, "traefik", 80)
        )  # by its address; otherwise the line above could not fail
        assert reached(stack, "en_core_web_sm", at(stack, "apart", 8000)) == []
        key = {"Authorization": f"Bearer {named_in_a_plan(stack)}"}
        wait_until(lambda: api.get("/apart/health", headers=key).status_code == 200, "the model with a key", 90)
        assert {line for line in containers(stack) if "apart" not in line} == before


def named_in_a_plan(stack):
    apply(stack, NAMED.replace(NAME, "apart"))
    return stack.issue_key("aparts", "aparts")
