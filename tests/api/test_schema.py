"""The OpenAPI document: complete, true, and the same as the file in docs/."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from django.urls import URLResolver, get_resolver

from api.base import examples
from api.base.operations import OPERATIONS, Operation
from api.base.resource import Nothing
from api.base.schema import security_of
from api.docs import document
from tests.api.callers import member_of
from tests.api.conformance import Json, described, faults_of

ROOT = Path(__file__).parents[2]
METHODS = ("get", "post", "put", "patch", "delete")
CALLS: list[tuple[Any, Operation]] = list(OPERATIONS.items())
NAMED = {one.id: (method, one) for method, one in CALLS}


def routes() -> set[object]:
    """Every method of every view below /api/v1/."""
    (api,) = [
        one for one in get_resolver().url_patterns if isinstance(one, URLResolver) and str(one.pattern) == "api/v1/"
    ]
    views = {getattr(one.callback, "cls", None) for one in api.url_patterns} - {None, Nothing}
    return {getattr(view, name) for view in views for name in METHODS if hasattr(view, name)}


def operations() -> dict[str, Json]:
    whole = json.loads(document("json"))
    return {one["operationId"]: one for path in whole["paths"].values() for one in path.values()}


def resolved(response: Json) -> Json:
    if "$ref" not in response:
        return response
    return dict(described()["components"]["responses"][response["$ref"].rpartition("/")[2]])


# Complete


def test_every_route_is_in_the_table_and_nothing_else_is():
    assert routes() == set(OPERATIONS)
    assert set(operations()) == {one.id for one in OPERATIONS.values()}


def test_the_schema_is_valid_openapi_without_a_warning(tmp_path):
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "made.yaml"))
    assert yaml.safe_load((tmp_path / "made.yaml").read_text())["openapi"] == "3.1.0"


def test_the_file_in_docs_is_the_schema_as_it_is_now():
    kept = (ROOT / "docs" / "openapi.yaml").read_bytes()
    assert kept == document("yaml"), "run: make schema"


@pytest.mark.parametrize("name", sorted(NAMED))
def test_an_operation_says_all_that_a_client_needs(name):
    one = operations()[name]
    assert (one["summary"] and "signed in" in one["description"]) or "operator" in one["description"]
    assert one["tags"] and one["security"] and {"401", "406", "429", "503"} <= set(one["responses"])
    for place in one.get("parameters", ()):
        assert "$ref" in place or place.get("example") or place.get("description"), place["name"]
    for content in one.get("requestBody", {}).get("content", {}).values():
        assert content["example"] is not None
    for status, response in one["responses"].items():
        said = resolved(response)
        assert said["description"]
        assert ("content" in said) is (status != "204"), f"{name} {status} has no body"
        for media_type, content in said.get("content", {}).items():
            assert content["schema"] and content["example"], f"{name} {status} {media_type}"
            if status >= "400":
                assert media_type == "application/problem+json"


def test_every_link_leads_to_an_operation_and_a_parameter_of_it():
    known = operations()
    for one in known.values():
        for response in one["responses"].values():
            for link in response.get("links", {}).values():
                target = known[link["operationId"]]
                assert set(link["parameters"]) <= {place.get("name") for place in target["parameters"]}


# True: what is said against what is done. tests/api/conformance.py does the same for every answer of a test.


@pytest.mark.parametrize("name", sorted(NAMED))
def test_what_a_method_calls_is_what_the_table_says(name):
    method, one = NAMED[name]
    called = set(inspect.unwrap(method).__code__.co_names) | set(inspect.unwrap(method).__code__.co_freevars)
    assert ("once" in called) is one.once
    assert bool({"page", "_page"} & called) is one.is_list
    for reader, form in (("query_of", one.query), ("body_of", one.body)):
        if reader in called:
            assert form is not None and form.__name__ in called, f"{name} reads another form than {form}"
    assert not (one.query and "query_of" not in called), f"{name} reads no query"


@pytest.mark.parametrize("form", list(examples.BODIES), ids=lambda form: form.__name__)
def test_an_example_of_a_body_is_taken_and_is_as_its_schema_says(form):
    is_partial = any(one.body is form and (one.is_partial or method.__name__ == "patch") for method, one in CALLS)
    checked = form(data=examples.BODIES[form], partial=is_partial)
    assert checked.is_valid(), checked.errors
    assert not faults_of(examples.BODIES[form], {"$ref": f"#/components/schemas/{form.__name__}"})


@pytest.mark.parametrize("form", list(examples.ANSWERS), ids=lambda form: form.__name__)
def test_an_example_of_an_answer_is_as_its_schema_says(form):
    schema = {"$ref": f"#/components/schemas/{form.__name__.removesuffix('Out')}"}
    assert not faults_of(examples.ANSWERS[form], schema)
    assert set(examples.ANSWERS[form]) == set(form().fields), "an example leaves something out"


def test_every_example_is_of_something_that_is_used():
    used = {one.body for one in OPERATIONS.values()} | {one.answer for one in OPERATIONS.values()}
    unused = {*examples.BODIES, *examples.ANSWERS} - used
    assert {form.__name__ for form in unused} <= {"PendingChange"}


@pytest.mark.parametrize("name", sorted(NAMED))
def test_the_schemes_and_scopes_are_those_of_the_access_table(name):
    _, one = NAMED[name]
    schemes: dict[str, set[str]] = {}
    for row in operations()[name]["security"]:
        for scheme, scopes in row.items():
            schemes.setdefault(scheme, set()).update(scopes)
    for scheme, wanted in (
        ("managementKey", [action.management for action in one.who]),
        ("operatorToken", [action.operator for action in one.who]),
    ):
        assert (scheme in schemes) is any(wanted)
        assert schemes.get(scheme, set()) == {scope for scope in wanted if scope not in ("", "any")}
    assert operations()[name]["security"] == security_of(one, is_change="csrf" in schemes)


# Served


def test_anybody_may_read_the_schema_in_json_and_in_yaml():
    client = Client()
    assert client.get("/api/v1/schema/").json() == json.loads(document("json"))
    in_yaml = client.get("/api/v1/schema/", {"format": "yaml"})
    assert in_yaml["Content-Type"] == "application/yaml" and in_yaml.content == document("yaml")
    again = client.get("/api/v1/schema/", headers={"If-None-Match": in_yaml["ETag"], "Accept": "application/yaml"})
    assert again.status_code == 304


def test_the_docs_page_and_all_other_pages_run_no_script_but_our_files():
    for path in ("/api/v1/docs/", "/login/", "/admin/login/", "/errors/no_key"):
        response = Client().get(path)
        policy = dict(part.strip().split(" ", 1) for part in response["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'", path
        assert policy["script-src"] == policy["connect-src"] == "'self'", path
        assert "unsafe" not in response["Content-Security-Policy"], path


def test_an_export_is_as_the_schema_says(account, issued):
    response: Any = member_of(account, "owner").get(f"/api/v1/accounts/{account.public_id}/export/")
    made = json.loads(b"".join(response.streaming_content))
    assert made["keys"] and made["members"] and made["audit"]
    assert not faults_of(made, {"$ref": "#/components/schemas/Export"})
