"""docker-compose.yml compared with what it repeats: the labels that a command prints and the settings in other files."""

from __future__ import annotations

import re
import tomllib
from io import StringIO

import pytest
import yaml
from django.core.management import call_command

from authsvc import __version__
from tests.compose.engine import why_not_compose
from tests.servers import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
FILES = (
    "docker-compose.yml",
    "deploy/compose/https.yml",
    "deploy/compose/mail.yml",
    "deploy/compose/socket-proxy.yml",
)
HTTPS = yaml.safe_load((ROOT / "deploy/compose/https.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
LIMITED = ("--after", "api-errors@file,too-large@file", "--upload-limit", "2m")


@pytest.mark.parametrize(
    ("model", "options"),
    [("en_core_web_sm", LIMITED), ("fr_core_news_md", ("--streaming",)), ("en_core_web_lg", LIMITED)],
)
@pytest.mark.django_db
def test_the_labels_of_a_model_are_those_that_the_command_prints(model, options):
    out = StringIO()
    call_command("model_labels", model, "--keep-route", *options, stdout=out)
    assert yaml.safe_load(out.getvalue())["services"][model]["labels"] == SERVICES[model]["labels"]


def flat(name, value):
    if isinstance(value, dict):
        return {key: one for inner, below in value.items() for key, one in flat(f"{name}_{inner}", below).items()}
    text = ",".join(value) if isinstance(value, list) else value
    return {name.upper(): str(text).lower() if isinstance(text, bool) else str(text)}


def test_the_entry_points_are_hardened_like_those_in_the_file():
    file = tomllib.loads((ROOT / "deploy/traefik/traefik.toml").read_text(encoding="utf-8"))
    wanted: dict[str, str] = {}
    for name, entry_point in file["entryPoints"].items():
        wanted |= flat(f"traefik_entrypoints_{name}", {k: v for k, v in entry_point.items() if k != "address"})
    said = {name: str(value) for name, value in SERVICES["traefik"]["environment"].items()}
    assert len(wanted) > 15
    assert wanted.items() <= said.items()


def test_the_internal_entry_point_is_on_loopback_and_no_port_leads_to_it():
    traefik = SERVICES["traefik"]
    assert traefik["environment"]["TRAEFIK_ENTRYPOINTS_GATE_ADDRESS"] == "127.0.0.1:8900"
    assert [port.rsplit(":", 1)[1] for port in traefik["ports"]] == ["80"]
    assert [port.rsplit(":", 1)[1] for port in HTTPS["services"]["traefik"]["ports"]] == ["443"]
    assert not any("INSECURE" in name for name in traefik["environment"])


def test_every_service_of_ours_has_every_secret_as_a_file_and_none_in_its_environment():
    for name in ("gate", "console", "worker", "setup", "discover", "demo_people"):
        environment = SERVICES[name]["environment"]
        for secret in ("SECRET_KEY", "KEY_PEPPER", "DATABASE_URL", "REDIS_URL"):
            assert environment[f"{secret}_FILE"] == f"/secrets/authsvc/{secret}"
            assert secret not in environment
    for name in ("console", "worker"):
        mail = services_of("deploy/compose/mail.yml")[name]["environment"]
        assert "EMAIL_URL" not in mail
        assert mail["EMAIL_URL_FILE"] == "/secrets/authsvc/EMAIL_URL"


def test_people_are_invented_only_by_who_says_that_it_is_a_demo():
    service = SERVICES["demo_people"]
    assert (service["profiles"], service["restart"], service["command"]) == (["demo"], "no", [])
    assert "--this-is-a-demo" not in service["entrypoint"]
    assert "docker compose run --rm demo_people --this-is-a-demo" in (ROOT / "docs/compose.md").read_text()


def test_the_image_names_the_version_of_the_code():
    assert f'org.opencontainers.image.version="{__version__}"' in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_every_variable_of_the_files_is_explained_in_one_of_them():
    text = "\n".join((ROOT / file).read_text() for file in FILES)
    explained = set(re.findall(r"^#\s+((?:[A-Z][A-Z_]+(?:, )?)+)", text, re.M))
    names = {name for line in explained for name in line.split(", ")} | set(re.findall(r"^# ([A-Z_]+) is ", text, re.M))
    own = {"IMAGE", "HTTPS_PORT"}  # for tests, and for building elsewhere
    assert set(re.findall(r"\$\{([A-Z_]+)", text)) - own <= names


def services_of(file):
    return yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["services"]


WHOLE = [(file, name) for file in ("docker-compose.yml", "deploy/compose/minimal.yml") for name in services_of(file)]


@pytest.mark.parametrize("file", ["docker-compose.yml", "deploy/compose/minimal.yml"])
def test_a_tag_is_built_by_one_service_and_pulled_by_none(file):
    """If several services build one tag, containers end up on builds without it, and the next `up` replaces them."""
    tagged = {name: service for name, service in services_of(file).items() if "IMAGE" in service.get("image", "")}
    builders = [name for name, service in tagged.items() if "build" in service]
    assert builders == ["secrets"]
    assert {name for name, service in tagged.items() if service.get("pull_policy") != "never"} == {"secrets"}
    assert len(tagged) >= 4


@pytest.mark.parametrize("file", ["docker-compose.yml", "deploy/compose/minimal.yml"])
def test_two_stacks_on_one_engine_do_not_build_the_same_tag(file):
    images = {service["image"] for service in services_of(file).values() if "IMAGE" in service.get("image", "")}
    assert images == {"${IMAGE:-${COMPOSE_PROJECT_NAME:-authsvc}:local}"}


@pytest.mark.parametrize(("file", "name"), WHOLE)
def test_a_service_is_confined_and_bounded(file, name):
    service = services_of(file)[name]
    assert service["cap_drop"] == ["ALL"]
    assert set(service.get("cap_add", ())) <= {
        "traefik": {"NET_BIND_SERVICE"},
        "postgres": {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"},
    }.get(name, set())
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])


@pytest.mark.parametrize("model", ["en_core_web_sm", "fr_core_news_md", "en_core_web_lg"])
def test_a_model_is_alone_with_traefik_on_a_network_of_its_own(model):
    assert SERVICES[model]["networks"] == [model]
    assert COMPOSE["networks"][model] == {"internal": True}
    assert {name for name, service in SERVICES.items() if model in service.get("networks", ())} == {"traefik", model}


def test_only_traefik_is_on_the_network_for_your_own_model():
    assert {name for name, service in SERVICES.items() if "models" in service.get("networks", ())} == {"traefik"}


@pytest.mark.parametrize("version", ["2.24.4", "2.40.3", "v2.24.5-desktop.1", "5.0.0"])
def test_a_recent_docker_compose_is_accepted(version):
    assert why_not_compose(version) is None


@pytest.mark.parametrize(
    ("version", "told"),
    [
        (None, "there is no `docker compose`"),
        ("1.29.2", "Docker Compose 1.29.2 is too old"),
        ("2.24.3", "Docker Compose 2.24.3 is too old"),
        ("dev", "unknown version 'dev'"),
    ],
)
def test_an_old_docker_compose_is_named_with_what_is_needed(version, told):
    said = why_not_compose(version)
    assert said is not None and told in said and "Docker Compose 2.24.4 or newer" in said
