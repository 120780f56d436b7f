"""No request fails during updates, good or bad."""

from __future__ import annotations

import json

from tests.swarm.cluster import API, OURS
from tests.swarm.conftest import NOW
from tests.swarm.engine import docker, inspect, wait_for
from tests.swarm.page import ROOT

PLANS = "from quotas.models import Plan; print(*Plan.objects.values_list('name', flat=True))"


def test_a_key_of_the_earlier_commit_works_through_an_update(now):
    assert now.ask(API, "/en_core_web_sm/health", key=now.key).status == 200
    assert now.ask(API, "/en_core_web_sm/health").status == 401


def test_the_first_call_of_the_page_is_answered_by_a_model(now):
    told = json.loads(now.run("### A first call", KEY=now.key))
    assert {"text": "London", "label": "GPE", "start": 36, "end": 42} in told["entities"]


def test_an_update_fails_no_request(update):
    assert update.failures == []


def test_an_update_replaces_gates_console_and_worker(now):
    assert all(now.runs(service, NOW) for service in OURS)


def test_a_rollback_by_hand_fails_no_request_and_brings_the_earlier_commit_back(rollback):
    step, earlier = rollback
    assert step.failures == []
    assert all(earlier.values()), earlier


def test_a_broken_image_is_rolled_back_automatically_and_fails_no_request(broken_image, now):
    step, states = broken_image
    assert step.failures == []
    assert set(states.values()) == {"rollback_completed"}, states
    assert all(now.runs(service, NOW) for service in OURS)


def test_gates_that_never_become_ready_are_rolled_back_and_fail_no_request(wrong_redis, now):
    step, states = wrong_redis
    assert step.failures == []
    assert set(states.values()) == {"rollback_completed"}, states
    assert all(now.runs(service, NOW) for service in OURS)


def test_scaling_up_and_down_fails_no_request(now, under_traffic):
    def up_and_down():
        now.run("## Scaling")
        assert len(now.tasks("gate")) == 4
        docker("service", "scale", "--detach=false", "authsvc_gate=2", seconds=300)

    assert under_traffic("scaling to four gates and back", up_and_down).failures == []


def test_an_update_of_a_model_fails_no_request_and_touches_nothing_else(now, under_traffic):
    others = {service: now.task_ids(service) for service in (*OURS, "traefik")}
    before = now.task_ids("en-core-web-sm", "models")
    step = under_traffic(
        "update of a model",
        lambda: docker("service", "update", "--force", "--detach=false", "-q", "models_en-core-web-sm", seconds=600),
    )
    assert step.failures == []
    assert now.task_ids("en-core-web-sm", "models") != before
    assert {service: now.task_ids(service) for service in others} == others


def test_a_new_catalogue_replaces_the_worker_alone(now, tmp_path):
    gates, consoles, workers = (now.task_ids(service) for service in ("gate", "console", "worker"))
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(
        f"{(ROOT / 'deploy' / 'catalogue.toml').read_text()}\n[plans.gold]\nmodels = ['*']\nlimits = []\n"
    )
    now.deploy(NOW, heading="## A new catalogue", CATALOGUE=str(catalogue))
    assert now.task_ids("worker") != workers
    wait_for(lambda: "gold" in now.manage("shell", "-c", PLANS), "the plan gold")
    assert (now.task_ids("gate"), now.task_ids("console")) == (gates, consoles)
    now.deploy(NOW)


def test_a_service_may_be_stopped_for_longer_than_it_drains(now):
    for service in OURS:
        grace = inspect("service", f"authsvc_{service}")["Spec"]["TaskTemplate"]["ContainerSpec"]["StopGracePeriod"]
        assert grace / 1e9 > 10 + 15
