"""The OpenAPI document: complete, true, and equal to the file in docs/."""

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

from api.base.operations import VERBS, Operation, PendingChange, operation_of
from api.base.resource import UnknownAddress
from api.docs import document
from api.openapi.auto_schema import OperationSchema
from api.openapi.who import security_of
from api.urls import OPERATIONS
from tests.api.callers import member_of
from tests.api.conformance import Json, described, faults_of

ROOT = Path(__file__).parents[2]
CALLS: list[tuple[Any, Operation]] = list(OPERATIONS.items())
NAMED = {one.id: (method, one) for method, one in CALLS}
BODIES = {one.body for _, one in CALLS if one.body}
ANSWERS = {one.answer for _, one in CALLS if one.answer} | {PendingChange}


def routed() -> set[object]:
    """Every method of every view below /api/v1/."""
    (api,) = [
        one for one in get_resolver().url_patterns if isinstance(one, URLResolver) and str(one.pattern) == "api/v1/"
    ]
    views = {getattr(one.callback, "cls", None) for one in api.url_patterns} - {None, UnknownAddress}
    return {getattr(view, verb) for view in views for verb in VERBS if hasattr(view, verb)}


def operations() -> dict[str, Json]:
    whole = json.loads(document("json"))
    return {one["operationId"]: one for path in whole["paths"].values() for one in path.values()}


def resolved(response: Json) -> Json:
    if "$ref" not in response:
        return response
    return dict(described()["components"]["responses"][response["$ref"].rpartition("/")[2]])


# Complete


def test_every_routed_method_is_an_operation_and_nothing_else_is():
    assert routed() == set(OPERATIONS)
    assert len(NAMED) == len(OPERATIONS), "two operations have one id"
    assert set(operations()) == set(NAMED)


def test_every_module_with_a_view_is_served():
    """A new file has to be named in api/urls.py."""
    with_views = {
        file.stem for file in (ROOT / "api").glob("*.py") if "@at(" in file.read_text() and file.stem != "urls"
    }
    assert with_views == {method.__module__.rpartition(".")[2] for method in OPERATIONS}


def test_the_schema_is_valid_openapi_without_a_warning(tmp_path):
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "made.yaml"))
    assert yaml.safe_load((tmp_path / "made.yaml").read_text())["openapi"] == "3.1.0"


def test_the_file_in_docs_is_the_current_schema():
    kept = (ROOT / "docs" / "openapi.yaml").read_bytes()
    assert kept == document("yaml"), "run: make schema"


@pytest.mark.parametrize("name", sorted(NAMED))
def test_an_operation_documents_everything_that_a_client_needs(name):
    one = operations()[name]
    assert one["summary"] and ("signed in" in one["description"] or "operator" in one["description"])
    assert one["tags"] and one["security"] and {"401", "406", "429", "503"} <= set(one["responses"])
    for place in one.get("parameters", ()):
        assert "$ref" in place or place.get("example") or place.get("description"), place["name"]
    for content in one.get("requestBody", {}).get("content", {}).values():
        assert content["example"] is not None
    for status, response in one["responses"].items():
        declared = resolved(response)
        assert declared["description"]
        assert ("content" in declared) is (status != "204"), f"{name} {status} has no body"
        for media_type, content in declared.get("content", {}).items():
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


# True: the description against the code. tests/api/conformance.py compares every answer of a test with the document.


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_method_does_what_its_operation_describes(name):
    method, one = NAMED[name]
    called = set(inspect.unwrap(method).__code__.co_names) | set(inspect.unwrap(method).__code__.co_freevars)
    assert ("once" in called) is one.once
    assert bool({"page", "page_of"} & called) is one.is_list
    assert ("read_query" in called) is bool(one.query)
    assert ("read_body" in called) is bool(one.body)


@pytest.mark.parametrize("form", sorted(BODIES, key=str), ids=lambda form: form.__name__)
def test_an_example_of_a_body_is_valid_and_matches_its_schema(form):
    is_partial = any(one.body is form and one.is_partial for _, one in CALLS)
    checked = form(data=form.example, partial=is_partial)
    assert checked.is_valid(), checked.errors
    assert not faults_of(form.example, {"$ref": f"#/components/schemas/{form.__name__}"})


@pytest.mark.parametrize("form", sorted(ANSWERS, key=str), ids=lambda form: form.__name__)
def test_an_example_of_an_answer_is_complete_and_matches_its_schema(form):
    schema = {"$ref": f"#/components/schemas/{form.__name__.removesuffix('Out')}"}
    if form is not PendingChange:  # is always shown with its `state`
        assert not faults_of(form.example, schema)
    assert set(form.example) == set(form().fields), "an example leaves something out"


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


def test_a_method_without_an_operation_is_reported(monkeypatch):
    reported: list[str] = []
    monkeypatch.setattr("api.openapi.auto_schema.error", reported.append)
    monkeypatch.setattr("api.openapi.auto_schema.operation_of", lambda view, verb: None)
    schema = OperationSchema()
    schema.view = object()  # type: ignore[assignment]
    assert schema.get_operation("/x/", "^x/$", "", "GET", None) is None  # type: ignore[arg-type]
    assert reported == ["GET /x/ has no @Operation"]


def test_an_inherited_method_keeps_its_operation_and_an_inherited_address_is_not_served_twice():
    from api.base.operations import route_of
    from api.keys import KeyList

    class Heir(KeyList):
        pass

    assert operation_of(Heir, "HEAD") is operation_of(KeyList, "get") is KeyList.get.operation  # type: ignore[attr-defined]
    assert route_of(Heir) is None


# Served


def test_anybody_may_read_the_schema_in_json_and_in_yaml():
    client = Client()
    assert client.get("/api/v1/schema/").json() == json.loads(document("json"))
    in_yaml = client.get("/api/v1/schema/", {"format": "yaml"})
    assert in_yaml["Content-Type"] == "application/yaml" and in_yaml.content == document("yaml")
    again = client.get("/api/v1/schema/", headers={"If-None-Match": in_yaml["ETag"], "Accept": "application/yaml"})
    assert again.status_code == 304


def test_the_docs_page_and_all_other_pages_run_only_scripts_from_our_files():
    for path in ("/api/v1/docs/", "/login/", "/admin/login/", "/errors/no_key"):
        response = Client().get(path)
        policy = dict(part.strip().split(" ", 1) for part in response["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'", path
        assert policy["script-src"] == policy["connect-src"] == "'self'", path
        assert "unsafe" not in response["Content-Security-Policy"], path


def test_an_export_matches_the_schema(account, issued):
    response: Any = member_of(account, "owner").get(f"/api/v1/accounts/{account.public_id}/export/")
    made = json.loads(b"".join(response.streaming_content))
    assert made["keys"] and made["members"] and made["audit"]
    assert not faults_of(made, {"$ref": "#/components/schemas/Export"})
