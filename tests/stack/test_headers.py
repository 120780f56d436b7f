"""What reaches the model, and which client headers are ignored."""

from __future__ import annotations

import pytest

from tests.stack.wire import request

GATES_OWN = {"X-Auth-Account", "X-Auth-Key", "X-Auth-Plan", "X-Auth-Model", "X-Auth-Request-Id"}


def seen(answer, name):
    """The values of a header as the model saw them."""
    assert answer.status == 200, answer.body
    return [value for key, value in answer.json()["headers"] if key.lower() == name.lower()]


def test_the_model_learns_who_asks(client):
    answer = client.ask("/echo/x?q=1", key="all")
    key_id = client.keys["all"].split("_")[1]
    assert answer["X-Served-By"] == "echo"
    assert answer.json()["target"] == "/echo/x?q=1"
    assert seen(answer, "X-Auth-Key") == [key_id]
    assert seen(answer, "X-Auth-Account") == [key_id[:8]]
    assert seen(answer, "X-Auth-Plan") == ["all"]
    assert seen(answer, "X-Auth-Model") == ["echo"]
    assert seen(answer, "RateLimit-Policy") == ['"second";q=10000;w=1']
    assert seen(answer, "RateLimit")[0].startswith('"second";r=')
    assert all(value.isascii() and len(value) <= 64 for name in GATES_OWN for value in seen(answer, name))


def test_every_call_has_an_id_of_its_own(client):
    ids = [seen(client.ask("/echo/", key="all"), "X-Auth-Request-Id") for _ in range(5)]
    assert len({one for (one,) in ids}) == 5


def test_the_trace_of_the_client_names_the_call(client):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = client.ask("/echo/", f"traceparent: 00-{trace}-00f067aa0ba902b7-01", key="all")
    assert seen(answer, "X-Auth-Request-Id") == [trace]


@pytest.mark.parametrize("scheme", ["Authorization: Bearer ", "Authorization: Token ", "X-Api-Key: ", "x-api-key: "])
def test_the_clients_key_ends_at_the_gate(client, scheme):
    answer = client.ask("/echo/", scheme + client.keys["all"])
    assert seen(answer, "Authorization") == seen(answer, "X-Api-Key") == []
    assert client.keys["all"] not in answer.body.decode()


@pytest.mark.parametrize("name", [*sorted(GATES_OWN), "RateLimit", "RateLimit-Policy"])
@pytest.mark.parametrize("spelled", [str, str.lower, str.upper])
def test_what_the_gate_says_cannot_be_forged(client, name, spelled):
    answer = client.ask("/echo/", f"{spelled(name)}: forged", f"{name}: forged twice", key="all")
    assert len(seen(answer, name)) == 1
    assert "forged" not in seen(answer, name)[0]


@pytest.mark.parametrize(
    "name",
    ["X_Auth_Account", "X_Forwarded_Uri", "x_api_key", "X-Auth_Key", "SCRIPT_NAME", "PATH_INFO", "X.Auth.Account"],
)
def test_a_header_that_could_pass_for_another_is_refused_or_dropped(client, name):
    answer = client.ask("/echo/", f"{name}: /auth", key="all")
    assert answer.status == 400 or (answer.status == 200 and seen(answer, name) == ["/auth"] and "." in name)


FORGED_FORWARDS = [
    "X-Forwarded-Uri: /echo/",
    "X-Forwarded-Uri: /echo2/",
    "X-Forwarded-Method: GET",
    "X-Forwarded-Method: OPTIONS",
    "X-Forwarded-Host: 127.0.0.1",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Port: 443",
    "X-Forwarded-For: 192.0.2.1",
    "X-Forwarded-For: 127.0.0.1, 192.0.2.1",
    "X-Forwarded-Prefix: /echo",
    "X-Forwarded-Server: x",
    "X-Forwarded-Tls-Client-Cert: x",
    "X-Real-Ip: 192.0.2.1",
    "X-Original-Url: /echo/",
    "X-Original-Method: GET",
    "X-Rewrite-Url: /echo/",
    "X-Http-Method-Override: GET",
    "Forwarded: for=192.0.2.1;host=x;proto=https",
    "Script-Name: /auth",
    "Path-Info: /auth/",
    "Remote-User: admin",
    "X-Forwarded-User: admin",
    "Proxy: http://192.0.2.1",
    "X-Auth-Model: echo",
    "X-Http-Host-Override: x",
    "Max-Forwards: 0",
    "Expect: 100-continue",
]


@pytest.mark.parametrize("line", FORGED_FORWARDS)
def test_a_proxys_headers_change_no_answer(client, line):
    assert client.ask("/echo2/", line).status == 401
    assert client.ask("/echo2/", line, key="revoked").status == 401
    assert client.ask("/echo2/", line, key="echo").status == 403
    assert client.ask("/echo2/", line, key="elsewhere").status == 403


@pytest.mark.parametrize(
    "listed",
    [
        "Authorization",
        "X-Api-Key",
        "X-Forwarded-Uri",
        "X-Forwarded-Method",
        "X-Forwarded-For, X-Forwarded-Uri, X-Forwarded-Method, X-Forwarded-Host",
        "X-Auth-Account, X-Auth-Key, X-Auth-Plan, X-Auth-Model",
        "keep-alive, authorization, close",
        "Host",
    ],
)
def test_connection_can_take_nothing_away(client, listed):
    assert client.ask("/echo/", f"Connection: {listed}").status == 401
    assert client.ask("/echo2/", f"Connection: {listed}", key="echo").status in (401, 403)
    answer = client.ask("/echo/", f"Connection: {listed}", key="echo")
    assert answer.status in (200, 400, 401, 403)
    if answer.status == 200:
        assert seen(answer, "X-Auth-Account") == [client.keys["echo"].split("_")[1][:8]]
        assert seen(answer, "Authorization") == []


def test_two_keys_are_refused_even_if_one_or_both_are_good(client):
    good, other = client.bearer("all"), client.bearer("echo")
    bad = client.bearer("revoked")
    for lines in ((good, bad), (bad, good), (good, good), (good, other), (good, f"X-Api-Key: {client.keys['all']}")):
        assert client.ask("/echo/", *lines).status == 401
    assert client.ask("/echo/", f"{good}, Bearer {client.keys['echo']}").status == 401
    assert client.ask("/echo/", f"X-Api-Key: {client.keys['all']}", f"X-Api-Key: {client.keys['all']}").status == 401


def test_another_scheme_beside_an_api_key_is_left_alone(client):
    answer = client.ask("/echo/", "Authorization: Basic dXNlcjpwYXNz", f"X-Api-Key: {client.keys['all']}")
    assert answer.status == 200
    assert seen(answer, "X-Api-Key") == []


def test_headers_larger_than_the_limit_end_before_the_gate(client):
    answer = client.ask("/echo/", f"X-Long: {'x' * 40_000}", key="all")
    assert answer.status == 431


def test_the_body_reaches_the_model_and_never_the_gate(client):
    answer = client.ask("/echo/", key="all", method="POST", body=b"x" * 200_000)
    assert len(answer.json()["body"]) == 200_000


def test_a_key_in_the_query_is_no_key(client):
    answer = client.ask(f"/echo/?api_key={client.keys['all']}&access_token={client.keys['all']}")
    assert answer.status == 401


def test_the_pin_cannot_be_changed_by_a_query(client):
    assert client.ask("/echo2/?model=echo", key="echo").status == 403
    assert client.ask("/echo/?model=echo2", key="echo").status == 200


def test_the_request_line_is_the_one_that_was_sent(client):
    """The tests rely on nothing between them and Traefik changing a request."""
    assert request("/a//../b%2F", "x_y: 1").startswith(b"GET /a//../b%2F HTTP/1.1\r\nHost: models.test\r\nx_y: 1\r\n")
