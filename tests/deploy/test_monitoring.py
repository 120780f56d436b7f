"""Alert rules, dashboard and scrape configuration: checked by Prometheus itself, and against a gate's own metrics."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from typing import Any

import pytest
import requests
import yaml

from accounts.measured import Turns, outbox
from runtime import health
from store.condition import Condition
from store.examination import Examination
from tests.gate.conftest import question
from tests.gate.test_fronts import environment
from tests.servers import ROOT, free_port, running, wait_until
from tests.test_docs import code_in, rows_of

FOLDER = ROOT / "deploy" / "monitoring"
ALERTS = yaml.safe_load((FOLDER / "alerts.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((FOLDER / "grafana" / "authsvc.json").read_text())
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]

needs_prometheus = pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not on PATH")


def promtool(*args: object) -> str:
    done = subprocess.run(["promtool", *map(str, args)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_prometheus
def test_promtool_accepts_every_rule():
    assert f"SUCCESS: {len(RULES)} rules found" in promtool("check", "rules", FOLDER / "alerts.yml")


@needs_prometheus
def test_each_alert_fires_for_its_fault_and_none_on_a_good_day():
    promtool("test", "rules", FOLDER / "alerts_test.yml")


def test_every_alert_has_a_test_in_which_it_fires():
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    fired = {one["alertname"] for test in tests for one in test.get("alert_rule_test", ()) if one.get("exp_alerts")}
    assert fired == {rule["alert"] for rule in RULES}


def test_the_page_explains_every_alert():
    rows = rows_of((ROOT / "docs" / "operations.md").read_text(), "### Alerts")
    assert [code_in(row[0])[0] for row in rows] == [rule["alert"] for rule in RULES]


@pytest.fixture
def series(monkeypatch, db):
    """Every metric that a process has, with the labels of each."""
    monkeypatch.setattr(health._numbers, "store", Examination(conditions=(Condition("noeviction", 1, 2),)))
    found: dict[str, set[str]] = {}
    for metric in (*health._numbers.collect(), *outbox(), *Turns().metrics()):
        labels = set(getattr(metric, "_labelnames", ()))
        suffixes = {
            "counter": ["_total"],
            "histogram": ["_bucket", "_sum", "_count"],
            "info": ["_info"],
        }.get(metric.type, [""])
        for suffix in suffixes:
            more = {"_bucket": {"le"}, "_info": {"version"}}.get(suffix, set())
            found[metric.name + suffix] = labels | more
    return found


@pytest.mark.parametrize("expression", sorted({*EXPRESSIONS, *(rule["expr"] for rule in RULES)}))
def test_every_metric_and_label_in_an_alert_or_a_panel_exists(series, expression):
    names = set(re.findall(r"\bauthsvc_\w+", expression))
    assert names or "up{" in expression
    assert names <= set(series)
    possible = {"job", "instance"}.union(*(series[name] for name in names))
    grouped = [word for words in re.findall(r"\bby \(([^)]*)\)", expression) for word in words.split(", ")]
    selected = re.findall(r"[{,]\s*(\w+)!?=", expression)
    assert {*grouped, *selected} <= possible


def test_the_dashboard_shows_every_metric(series):
    shown = set(re.findall(r"\bauthsvc_\w+", json.dumps(DASHBOARD)))
    assert {name for name in series if not name.endswith(("_sum", "_count"))} <= shown
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_what_is_scraped_are_services_of_the_stack_on_a_network_with_prometheus():
    scraped = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    services = COMPOSE["services"]
    for job in scraped:
        (found,) = job["dns_sd_configs"]
        assert found["names"] == [job["job_name"]] and found["port"] == 9000
        assert set(services[job["job_name"]]["networks"]) & set(services["prometheus"]["networks"])
    assert "ADMIN_BIND=0.0.0.0:9000" in (ROOT / "Dockerfile").read_text()


def test_only_with_the_profile_are_they_started_and_neither_has_a_port():
    for name in ("prometheus", "grafana"):
        service = COMPOSE["services"][name]
        assert service["profiles"] == ["monitoring"] and "ports" not in service
        for volume in service["volumes"]:
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).is_file()
    assert "data" not in COMPOSE["services"]["grafana"]["networks"]


@pytest.mark.skipif(shutil.which("docker") is None, reason="docker is not on PATH")
def test_compose_starts_both_with_the_profile():
    def services(*options: str) -> set[str]:
        command = ["docker", "compose", *options, "config", "--services"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        if "is not a docker command" in done.stderr:
            pytest.skip("there is no docker compose")
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split())

    assert services("--profile", "monitoring") - services() == {"prometheus", "grafana"}


# A real Prometheus, scraping a real gate


@pytest.fixture
def prometheus(tmp_path):
    """Debian's Prometheus with our rules, scraping `targets()` twice a second. Yields a function that asks it."""

    def start(**targets: int):
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
        config["rule_files"] = [str(FOLDER / "alerts.yml")]
        config["scrape_configs"] = [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for job, port in targets.items()
        ]
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        port = free_port()
        command = [
            "prometheus",
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/tsdb",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        return running(command, log=tmp_path / "prometheus.log"), port

    return start


def ask(port: int, path: str, **query: str) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return dict(json.load(answer)["data"])


def value(port: int, expression: str) -> float | None:
    try:
        result = ask(port, "query", query=expression)["result"]
    except OSError:
        return None
    return float(result[0]["value"][1]) if result else None


@pytest.mark.slow
@needs_prometheus
@pytest.mark.django_db(transaction=True)
def test_prometheus_scrapes_a_gate_of_several_workers(prometheus, redis_socket, tmp_path):
    public, admin = free_port(), free_port()
    env = {
        **os.environ,
        **environment(),
        "BIND": f"127.0.0.1:{public}",
        "ADMIN_BIND": f"127.0.0.1:{admin}",
        "WEB_CONCURRENCY": "2",
        "AUTHSVC_DRAIN": "0",
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "authsvc.asgi:application"]
    with running(command, env=env, log=tmp_path / "gate.log"):
        wait_until(lambda: (tmp_path / "gate.log").read_text().count("startup complete") == 2, "both workers", 60)
        for _ in range(12):
            asked = requests.get(f"http://127.0.0.1:{public}/auth/", headers=dict(question()), timeout=20)
            assert asked.status_code == 401
        scraping, port = prometheus(gate=admin)
        with scraping:
            wait_until(lambda: value(port, 'authsvc_decisions_total{verdict="no_key"}') == 12, "the scrape", 60)
            (target,) = ask(port, "targets")["activeTargets"]
            assert (target["health"], target["lastError"]) == ("up", "")
            assert value(port, "authsvc_decision_seconds_count") == 12
            assert value(port, "authsvc_workers_serving") == 2
            wait_until(lambda: {rule["health"] for rule in rules(port)} == {"ok"}, "the rules being evaluated", 60)


def rules(port: int) -> list[dict[str, Any]]:
    return [rule for group in ask(port, "rules")["groups"] for rule in group["rules"]]
