"""model_labels: the three forms are equivalent, and work through a real Traefik and gate."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command

from tests.traefik.routes import printed, route

# What each option adds, in every combination that makes sense.
OPTIONS = [
    (),
    ("--path", "/v1/llama", "--host", "models.test"),
    ("--host", ""),
    ("--strip-prefix", "--streaming"),
    ("--websocket-keys", "--public", "/health"),
    ("--upload-limit", "10m"),
    ("--public", "/health", "--public", "/docs/", "--strip-prefix"),
    ("--before", "a@file,b@docker", "--after", "c"),
    ("--entrypoint", "websecure", "--gate-url", "http://gate.test:9/"),
]


def unflattened(labels):
    """Labels as Traefik reads them: dots nest, commas separate, case is ignored."""
    tree: dict[str, Any] = {}
    for name, value in labels.items():
        assert name.startswith("traefik.")
        *above, last = name.split(".")[1:]
        place = tree
        for word in above:
            place = place.setdefault(word, {})
        place[last] = value
    return tree


def typed(value, like):
    """A label's text as the file's value: a number, flag or list."""
    if isinstance(like, dict):
        assert isinstance(value, dict) and set(value) == set(like)
        return {key: typed(value[key], like[key]) for key in like}
    if isinstance(like, list):
        return value.split(",")
    return type(like)(yaml.safe_load(value)) if isinstance(like, bool | int) else value


@pytest.mark.parametrize("form", ["compose", "swarm"])
@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_labels_and_the_file_have_the_same_configuration(form, options):
    shared = ("--host", "h.test", "--before", "", "--after", "")  # their defaults differ; later options win
    file = route("llama.3", *shared, *options)
    (service,) = printed("llama.3", *shared, *options, form=form)["services"].values()
    tree = unflattened((service["deploy"] if form == "swarm" else service)["labels"])
    assert tree.pop("enable") == "true"
    (name,) = file["services"]
    (server,) = file["services"][name]["loadBalancer"].pop("servers")
    port = tree["http"]["services"][name]["loadBalancer"].pop("server")
    assert server == {"url": "http://llama.3:8000"} and port == {"port": "8000"}
    assert typed(tree["http"], file) == file


def test_a_dot_in_a_name_ends_no_name_of_traefik():
    assert set(route("llama.3")["routers"]) == {"llama-dot-3"}
    assert route("llama.3")["middlewares"]["ask-llama-dot-3"]["forwardAuth"]["address"].endswith("?model=llama.3")


def test_a_model_named_like_a_router_of_the_stack_gets_another_name_there():
    assert set(route("gate")["routers"]) == {"model-gate"}


@pytest.mark.parametrize("name", ["on", "null", "123", "1e3", "2024-01-01", "0x10", "~"])
def test_a_name_that_yaml_would_read_as_something_else_is_quoted(name):
    if name == "~":
        with pytest.raises(CommandError, match="is not a model's name"):
            route(name)
        return
    assert set(route(name)["routers"]) == {name}
    assert set(printed(name, form="compose")["services"]) == {name}


def text_of(*options, form="compose"):
    out = StringIO()
    call_command("model_labels", "llama", "--for", form, "--path", "/llama", *options, stdout=out)
    return out.getvalue()


def test_a_variable_of_compose_stays_one_and_another_dollar_is_doubled():
    text = text_of("--host", "api.${DOMAIN:-localhost}", "--gate-url", "http://gate:8000/$x")
    assert "Host(`api.${DOMAIN:-localhost}`)" in text
    assert "http://gate:8000/$$x/auth/?model=llama" in text


def test_a_route_that_is_kept_names_the_server():
    labels = printed("llama", "--keep-route", "--service", "my-llama", form="compose")["services"]["my-llama"]["labels"]
    assert labels["traefik.docker.allownonrunning"] == "true"
    assert labels["traefik.http.services.llama.loadBalancer.server.url"] == "http://my-llama:8000"
    assert "traefik.http.services.llama.loadBalancer.server.port" not in labels


@pytest.mark.parametrize(("form", "label"), [("compose", "traefik.docker.network"), ("swarm", "traefik.swarm.network")])
def test_the_network_is_named_for_the_provider(form, label):
    (service,) = printed("llama", "--network", "models", form=form)["services"].values()
    assert (service.get("deploy") or service)["labels"][label] == "models"


def test_websocket_keys_are_asked_for_and_kept_from_the_model():
    (question,) = [one["forwardAuth"] for one in route("llama", "--websocket-keys")["middlewares"].values()]
    assert "Sec-WebSocket-Protocol" in question["authRequestHeaders"]
    assert "Sec-WebSocket-Protocol" in question["authResponseHeaders"]
    assert "Sec-WebSocket-Protocol" not in str(route("llama"))


def test_an_upload_limit_has_its_page_around_it():
    labels = printed("llama", "--upload-limit", "1k", form="compose")["services"]["llama"]["labels"]
    assert labels["traefik.http.routers.llama.middlewares"] == (
        "cors@file,ask-llama,api-errors@file,too-large@file,limit-llama"
    )
    assert labels["traefik.http.middlewares.limit-llama.buffering.maxRequestBodyBytes"] == "1024"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["a b"], "is not a model's name"),
        (["a/b"], "is not a model's name"),
        (["x" * 64], "is not a model's name"),
        (["m", "--path", "m"], "is not a path"),
        (["m", "--path", "/a`) || Path(`/b"], "is not a path"),
        (["m", "--path", "/a/../b"], "is not a path"),
        (["m", "--host", "a`b"], "is not a host name"),
        (["m", "--host", "${A}", "--for", "file"], "is not a host name"),
        (["m", "--port", "0"], "between 1 and 65535"),
        (["m", "--upload-limit", "much"], "write a size"),
        (["m", "--upload-limit", "1m", "--streaming"], "use only one of the two"),
        (["m", "--gate-url", "gate:8000"], "write an address"),
        (["m", "--server-url", "ftp://x", "--for", "file"], "write an address"),
        (["m", "--before", "a b"], "is not the name of a middleware"),
        (["m", "--public", "health"], "is not a path below"),
        (["m", "--public", "/"], "is not a path below"),
        (["m", "--network", "a\nb"], "is not the name of a network"),
        (["m", "--service", "a: b"], "is not a service's name"),
        (["m", "--entrypoint", "web,gate"], "is not the name of an entry point"),
    ],
)
def test_invalid_options_are_refused(options, complaint):
    if "--path" not in options:
        options = [*options, "--path", "/m"]
    with pytest.raises(CommandError, match=complaint):
        call_command("model_labels", *options, stdout=StringIO())


def test_the_path_is_the_catalogues_where_it_knows_the_model(catalogue):
    out = StringIO()
    call_command("model_labels", "lg", stdout=out)
    assert "PathPrefix(`/v1/large/`)" in out.getvalue()


def test_without_a_database_the_path_is_the_name(db, monkeypatch):
    from django.db import OperationalError
    from django.db.backends.utils import CursorWrapper

    def fail(*_, **__):
        raise OperationalError("the database is stopped")

    out = StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(CursorWrapper, "execute", fail)
        call_command("model_labels", "lg", stdout=out, skip_checks=True)
    assert "PathPrefix(`/lg/`)" in out.getvalue()
