"""The files in deploy/swarm, without an engine: compared with the compose stack, the commands and the page."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import yaml
from django.core.management import call_command

from tests.test_docs import code_in, rows_of

ROOT = Path(__file__).parents[2]
SWARM = ROOT / "deploy" / "swarm"
STACKS = {name: yaml.safe_load((SWARM / name).read_text()) for name in ("stack.yml", "models.yml", "site.yml")}
SERVICES = {service: spec for stack in STACKS.values() for service, spec in stack["services"].items()}
PAGE = (ROOT / "docs" / "deploying.md").read_text()
FILES = sorted(SWARM.glob("*.yml"))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("service", "model", "more"),
    [
        (service, model, ["--network", f"authsvc-{service}", *more])
        for service, model, more in (
            ("en-core-web-sm", "en_core_web_sm", ["--after", "api-errors@file,too-large@file", "--upload-limit", "2m"]),
            ("fr-core-news-md", "fr_core_news_md", ["--streaming"]),
        )
    ],
)
def test_the_labels_of_a_model_are_those_that_model_labels_prints(service, model, more):
    out = io.StringIO()
    call_command("model_labels", model, "--for", "swarm", *more, stdout=out)
    (printed,) = yaml.safe_load(out.getvalue())["services"].values()
    assert SERVICES[service]["deploy"]["labels"] == printed["deploy"]["labels"]


def traefik_of(name: str) -> dict[str, str]:
    """Traefik's configuration, without provider-specific settings and the console's port, which each stack names its own
    way."""
    told = yaml.safe_load((ROOT / name).read_text())["services"]["traefik"]["environment"]
    return {
        key: value for key, value in told.items() if "_PROVIDERS_" not in key and key not in ("PROVIDER", "CONSOLE_URL")
    }


def test_traefik_is_configured_as_in_the_compose_stack():
    assert traefik_of("deploy/swarm/stack.yml") == traefik_of("docker-compose.yml")


@pytest.mark.parametrize("file", ["swarm/stack.yml", "swarm/https.yml", "compose/https.yml", "../docker-compose.yml"])
def test_traefik_knows_the_console_by_the_address_that_the_console_has(file):
    stack = yaml.safe_load((ROOT / "deploy" / file).read_text())
    of_the_console = stack["services"]["console"]["environment"]
    assert stack["services"]["traefik"]["environment"]["CONSOLE_URL"] == of_the_console["CONSOLE_URL"]


def test_https_is_that_of_the_compose_stack():
    ours, theirs = traefik_of("deploy/swarm/https.yml"), traefik_of("deploy/compose/https.yml")
    assert ours == {key: value for key, value in theirs.items() if key != "DOMAIN"}


def test_traefik_has_every_shared_file_of_the_compose_stack():
    configs = STACKS["stack.yml"]["configs"].values()
    named = {(SWARM / config["file"]).resolve() for config in configs if "traefik" in config["file"]}
    assert named == set((ROOT / "deploy" / "traefik" / "stack").iterdir())


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_of_the_swarm_is_confined_and_bounded(name):
    service = SERVICES[name]
    deploy = service["deploy"]
    assert service["cap_drop"] == ["ALL"]
    assert service.get("read_only") or name == "postgres"
    assert service["logging"]["options"]["max-size"]
    assert {"limits", "reservations"} <= set(deploy["resources"])
    assert deploy["update_config"]["failure_action"] == "rollback"
    published = isinstance(service.get("ports"), list) or service.get("volumes", [""])[0] == f"{name}:/data"
    stops_first = published or name == "postgres"
    assert deploy["update_config"]["order"] == ("stop-first" if stops_first else "start-first")


@pytest.mark.parametrize("name", ["gate", "console", "worker", "discover"])
def test_a_service_of_ours_may_take_longer_to_stop_than_it_drains(name):
    assert int(SERVICES[name]["stop_grace_period"].rstrip("s")) > 10 + 15


def test_traefik_reads_labels_below_deploy_and_is_told_each_port():
    assert not any("labels" in service for service in SERVICES.values())
    for name, service in SERVICES.items():
        labels = service["deploy"].get("labels", {})
        routed = {key.split(".")[3] for key in labels if key.startswith("traefik.http.services.")}
        assert all(f"traefik.http.services.{one}.loadBalancer.server.port" in labels for one in routed), name
    assert not any("swarmmode" in file.read_text().lower() for file in FILES)


def test_no_store_is_on_a_network_with_traefik_or_a_model():
    on = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert on["redis"] == on["postgres"] == {"data"}
    assert "data" not in on["traefik"]


@pytest.mark.parametrize("model", ["en-core-web-sm", "fr-core-news-md"])
def test_a_model_is_alone_with_traefik_on_a_network_of_its_own(model):
    named = {key: network["name"] for key, network in STACKS["stack.yml"]["networks"].items() if "name" in network}
    theirs = {key: network["name"] for key, network in STACKS["models.yml"]["networks"].items()}
    assert SERVICES[model]["networks"] == [model]
    assert named[model] == theirs[model] == SERVICES[model]["deploy"]["labels"]["traefik.swarm.network"]
    assert {name for name, service in SERVICES.items() if model in service["networks"]} == {"traefik", model}


def test_the_page_lists_every_variable_and_no_other():
    used = set(re.findall(r"\$\{([A-Z_]+)", "".join(file.read_text() for file in FILES)))
    section = PAGE.partition("### Variables")[2].partition("\n### ")[0]
    told = {
        word
        for row in rows_of(section, "")
        for cell in (row[0], row[2])
        for word in code_in(cell)
        if re.fullmatch("[A-Z_]+", word)
    }
    assert {name for name in used if not name.endswith("_SECRET")} == told - {"DEBUG", "KEY_PEPPER_SECRET"}


def test_the_page_makes_every_secret_and_says_how_to_renew_it():
    secrets = yaml.safe_load((SWARM / "stack.yml").read_text())["secrets"]
    defaults = {tuple(re.findall(r"\$\{([A-Z_]+):-(.*)\}", one["name"])[0]) for one in secrets.values()}
    made = re.findall(r"for file in (.*?); do", PAGE, re.S)[0].replace("\\\n", " ").split()
    assert {name for _, name in defaults} == {f"authsvc_{file.split('/')[1]}" for file in made}
    rows = rows_of(PAGE, "## Renewing a secret")
    renewed = {pair for row in rows for pair in zip(code_in(row[1]), code_in(row[0]), strict=True)}
    assert renewed == defaults


def test_traefik_is_not_replaced_because_its_node_is_busy():
    """Swarm kills a task that fails its health check, and this one is every client's way in."""
    check = STACKS["stack.yml"]["services"]["traefik"]["healthcheck"]
    assert int(check["timeout"].rstrip("s")) >= 10
    assert check["retries"] * int(check["timeout"].rstrip("s")) >= 60
