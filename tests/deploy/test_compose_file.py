"""docker-compose.yml beside what it repeats: the labels that a command prints, the settings that files have."""

from __future__ import annotations

import re
import tomllib
from io import StringIO

import pytest
import yaml
from django.core.management import call_command

from authsvc import __version__
from tests.servers import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
FILES = ("docker-compose.yml", "deploy/compose/https.yml", "deploy/compose/mail.yml")
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


def test_the_entry_points_are_as_hard_as_those_of_the_file():
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
    for name in ("gate", "console", "worker", "setup", "discover"):
        environment = SERVICES[name]["environment"]
        for secret in ("SECRET_KEY", "KEY_PEPPER", "DATABASE_URL", "REDIS_URL"):
            assert environment[f"{secret}_FILE"] == f"/secrets/authsvc/{secret}"
            assert secret not in environment


def test_the_image_names_the_version_of_the_code():
    assert f'org.opencontainers.image.version="{__version__}"' in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_every_variable_of_the_files_is_explained_in_one_of_them():
    text = "\n".join((ROOT / file).read_text() for file in FILES)
    explained = set(re.findall(r"^#\s+((?:[A-Z][A-Z_]+(?:, )?)+)", text, re.M))
    names = {name for line in explained for name in line.split(", ")} | set(re.findall(r"^# ([A-Z_]+) is ", text, re.M))
    own = {"IMAGE", "HTTPS_PORT"}  # for tests, and for who builds elsewhere
    assert set(re.findall(r"\$\{([A-Z_]+)", text)) - own <= names


@pytest.mark.parametrize("file", ["docker-compose.yml", "deploy/compose/minimal.yml"])
def test_a_second_file_beside_it_replaces_nothing(file):
    """docker-compose 1.29 sorts volumes and drops what it does not know when it reads another file, for a model, say; a
    service that then looks different is replaced."""
    for name, service in yaml.safe_load((ROOT / file).read_text())["services"].items():
        paths = [re.sub(r"^\$\{[^}]*\}", "", volume).split(":")[1] for volume in service.get("volumes", [])]
        assert paths == sorted(paths), name
        assert "pull_policy" not in service, name
