"""NOTICE names what is installed, and what browsers are served."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import drf_spectacular_sidecar
import rest_framework
from django.contrib import admin

from tests.servers import ROOT

NOTICE = (ROOT / "NOTICE").read_text(encoding="utf-8")


def rows_below(heading):
    """The first cells of the table that follows a line with these words."""
    table = re.search(r"\n\n((?:  .+\n)+)", NOTICE[NOTICE.index(heading) :])
    assert table
    return [re.split(r" {2,}", line.strip())[0] for line in table[1].splitlines()]


def locked(name):
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==", text, re.M))


def test_the_table_of_the_service_names_exactly_what_its_lock_file_installs():
    assert sorted(rows_below("installs requirements/service.txt")) == sorted(locked("service.txt"))


def test_what_the_demo_and_the_sample_models_depend_on_directly_is_named():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    direct = {re.split(r"[=<>\[;]", line)[0].strip() for group in ("demo", "model") for line in groups[group]}
    assert direct - locked("service.txt") == set(rows_below("requirements/model.txt, none of which"))


def test_each_library_that_packages_bring_for_browsers_is_named():
    named = rows_below("serves to browsers")
    vendored = Path(admin.__file__).parent / "static" / "admin" / "js" / "vendor"
    folders = {folder.name for folder in vendored.iterdir()}
    assert folders == {name.lower() for name in named} & folders

    sidecar = Path(drf_spectacular_sidecar.__file__).parent / "static" / "drf_spectacular_sidecar"
    assert {folder.name for folder in sidecar.iterdir()} == {"redoc", "swagger-ui-dist"}
    assert {"Redoc", "Swagger UI"} <= set(named)

    browsable = Path(rest_framework.__file__).parent / "static" / "rest_framework"
    scripts = {re.split(r"[.-]", file.name)[0] for file in (browsable / "js").glob("*min.js")}
    assert scripts == {"bootstrap", "jquery", "prettify"}
    assert {"Bootstrap", "jQuery", "google-code-prettify"} <= set(named)
