"""What model_labels and docs/adding-a-model.md say, through a real Traefik of its own and the stack's real gate."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from deploy.demo.place import CHECKOUT
from tests.stack import wire
from tests.traefik.conftest import start_traefik, traefik  # noqa: F401
from tests.traefik.routes import route
from traefik import headers


@pytest.fixture
def served(stack, client, traefik):  # noqa: F811
    """A function that serves the file form for the stack's model `echo`, and one that asks it."""
    (model,) = [port for one, port in zip(stack.models, stack.place.models, strict=True) if one.name == "echo"]

    def serve(*options):
        where = ("--gate-url", stack.place.gate_url, "--server-url", f"http://127.0.0.1:{model}", "--host", "")
        traefik.serve(route("echo", *where, *options))

    def ask(target, *lines, key=None, **more):
        lines = (*lines, client.bearer(key)) if key else lines
        return wire.ask(traefik.web, target, *lines, **more)

    return serve, ask


def headers_of(answer):
    return {name.lower(): value for name, value in json.loads(answer.body)["headers"]}


def test_the_file_form_puts_a_model_behind_the_gate(served):
    serve, ask = served
    serve()
    assert ask("/echo/x").status == 401
    answer = ask("/echo/x?q=1", "X-Auth-Plan: gold", "X-Api-Key-2: x", key="echo")
    seen = headers_of(answer)
    assert answer.status == 200 and json.loads(answer.body)["target"] == "/echo/x?q=1"
    assert seen["x-auth-model"] == "echo" and seen["x-auth-plan"] == "echo"
    assert "authorization" not in seen and "x-api-key" not in seen
    assert ask("/echo2/x", key="all").status == 404  # no router: the rule has a boundary


def test_every_header_that_the_gate_sends_is_listed_and_every_one_listed_is_sent(served):
    """The one list, held against what a real gate answers: so no client can forge a header that was forgotten."""
    serve, ask = served
    serve()
    seen = set(headers_of(ask("/echo/x", key="echo")))
    assert {name.lower() for name in headers.ANSWERED} <= seen
    assert {name for name in seen if name.startswith(("x-auth-", "ratelimit"))} == {
        name.lower() for name in headers.ANSWERED
    }


def test_the_prefix_is_taken_away_after_the_gate_was_asked(served):
    serve, ask = served
    serve("--strip-prefix")
    answer = ask("/echo/v1/chat", key="echo")
    assert (answer.status, json.loads(answer.body)["target"]) == (200, "/v1/chat")
    assert headers_of(answer)["x-auth-model"] == "echo"


def test_public_paths_need_no_key_and_the_model_never_sees_one(served):
    serve, ask = served
    serve("--public", "/health", "--public", "/docs/")
    for path in ("/echo/health", "/echo/docs/a/b"):
        answer = ask(path, "X-Api-Key: k", key="echo")
        assert answer.status == 200
        assert not {"authorization", "x-api-key", "x-auth-account"} & set(headers_of(answer))
    assert ask("/echo/healthy").status == 401
    serve("--public", "/h")  # its rule is the shorter one: without a priority it would come second
    assert ask("/echo/h").status == 200
    assert ask("/echo/docs").status == 401
    assert ask("/echo/x").status == 401


def test_an_upload_over_the_limit_is_413_but_only_with_a_key(served):
    serve, ask = served
    serve("--upload-limit", "1k")
    assert ask("/echo/x", key="echo", method="POST", body=b"x" * 1024).status == 200
    assert ask("/echo/x", key="echo", method="POST", body=b"x" * 1025).status == 413
    assert ask("/echo/x", method="POST", body=b"x" * 1025).status == 401


def until(stream, line):
    """Read up to a line; the connection's timeout bounds it."""
    while (read := stream.readline()).strip() != line:
        assert read, f"{line!r} never came"


def test_each_event_of_a_stream_is_sent_as_it_is_made(served, traefik, client):  # noqa: F811
    """The second is made only once it is requested, which requires the first to have arrived."""
    import socket

    serve, ask = served
    serve("--streaming")
    with socket.create_connection(("127.0.0.1", traefik.web), timeout=10) as connection:
        connection.sendall(wire.request("/echo/events", client.bearer("echo")))
        stream = connection.makefile("rb")
        until(stream, b"data: first")
        assert ask("/echo/release", key="echo").status == 200
        until(stream, b"data: second")


# The page's own examples, word for word except for this machine's names and addresses


def examples():
    """The file examples in docs/adding-a-model.md."""
    page = (CHECKOUT / "docs" / "adding-a-model.md").read_text()
    return dict(re.findall(r"^```yaml\n# file: ([^\n]*)\n(.*?)^```$", page, re.M | re.S))


@pytest.fixture
def applied(stack, served, traefik):  # noqa: F811
    """Serve an example as the stack's model `echo`."""
    port = dict(zip((model.name for model in stack.models), stack.place.models, strict=True))["echo"]

    def apply(text):
        for was, now in {
            "llama": "echo",
            "https://127.0.0.1:8900": stack.place.gate_url,
            "http://echo:8000": f"http://127.0.0.1:{port}",
            "api.localhost": "models.test",  # the host that these tests use
        }.items():
            assert was in text or was == "llama"
            text = text.replace(was, now)
        traefik.serve(yaml.safe_load(text)["http"])
        return served[1]

    return apply


def test_the_example_of_public_paths_does_what_the_page_says(applied):
    (text,) = [text for options, text in examples().items() if options.startswith("echo")]
    ask = applied(text)
    assert ask("/echo/health").status == 200
    assert ask("/echo/docs/index").status == 200
    assert ask("/echo/x").status == 401
    assert ask("/echo/x", key="echo").status == 200


def test_the_example_of_an_openai_style_server_does_what_the_page_says(applied):
    (text,) = [text for options, text in examples().items() if options.startswith("llama")]
    ask = applied(text)
    assert ask("/echo/health").status == 200
    assert ask("/echo/v1/chat/completions", method="POST", body=b"{}").status == 401
    answer = ask("/echo/v1/chat/completions", key="echo", method="POST", body=b"{}")
    assert (answer.status, json.loads(answer.body)["target"]) == (200, "/v1/chat/completions")
    assert "authorization" not in headers_of(answer)
