"""Every refusal in the table of answers, as a client behind Traefik sees it."""

from __future__ import annotations

import pytest

BARE = 'Bearer realm="models"'
NO_SUCH_KEY = f'{BARE}, error="invalid_token", error_description="'


def is_problem(answer, status):
    """RFC 9457, small, not cacheable, and without internal details."""
    body = answer.json()
    return (
        answer.status == body["status"] == status
        and answer["Content-Type"] == "application/problem+json"
        and answer["Cache-Control"] == "no-store"
        and len(answer.body) <= 2048
        and {"type", "title", "detail", "request_id"} <= body.keys()
        and "X-Auth-Account" not in answer
        and b"Traceback" not in answer.body
    )


@pytest.mark.parametrize(
    "lines",
    [(), ("Authorization: Basic dXNlcjpwYXNz",), ("Authorization: Digest x",), ("Cookie: key=ask_x",)],
)
def test_without_a_key_the_challenge_is_bare(client, lines):
    answer = client.ask("/echo/", *lines)
    assert is_problem(answer, 401)
    assert answer["WWW-Authenticate"] == BARE
    assert "RateLimit" not in answer


@pytest.mark.parametrize(
    "scheme", ["Authorization: Bearer ", "Authorization: Token ", "authorization: bearer ", "X-Api-Key: "]
)
@pytest.mark.parametrize("key", ["unknown", "forged", "wrong", "revoked", "expired"])
def test_a_key_that_is_not_valid_is_an_invalid_token(client, key, scheme):
    answer = client.ask("/echo/", scheme + client.keys[key])
    assert is_problem(answer, 401)
    assert answer["WWW-Authenticate"].startswith(NO_SUCH_KEY)
    assert "RateLimit" not in answer
    assert client.keys[key].encode() not in answer.body


def test_a_client_cannot_tell_why_a_key_is_not_valid(client):
    def words(key):
        answer = client.ask("/echo/", key=key)
        body = {name: value for name, value in answer.json().items() if name != "request_id"}
        return body, answer["WWW-Authenticate"]

    assert words("unknown") == words("wrong") == words("revoked") == words("expired")


@pytest.mark.parametrize(
    "key",
    [
        "junk",
        "ask_",
        "ask_short",
        "",
        "ask_" + "0" * 61,
        "ask_" + "0" * 16 + "_" + "0" * 44,
        "é",
        "x" * 4000,
        "a b",
        "ask_%00",
    ],
)
@pytest.mark.parametrize("scheme", ["Authorization: Bearer ", "X-Api-Key: "])
def test_junk_is_refused(client, scheme, key):
    assert is_problem(client.ask("/echo/", scheme + key), 401)


def test_a_key_that_lost_its_end_or_changed_a_letter_is_refused(client):
    key = client.keys["all"]
    changed = key[:30] + ("a" if key[30] != "a" else "b") + key[31:]
    for text in (key[:-1], key + "0", changed, key.swapcase(), key.upper()):
        assert is_problem(client.ask("/echo/", f"Authorization: Bearer {text}"), 401)


@pytest.mark.parametrize("key", ["echo", "narrowed"])
def test_a_model_outside_of_the_plan_or_the_key_is_a_missing_scope(client, key):
    assert client.ask("/echo/", key=key).status == 200
    answer = client.ask("/echo2/", key=key)
    assert is_problem(answer, 403)
    assert answer["WWW-Authenticate"] == f'{BARE}, error="insufficient_scope", scope="model:echo2"'


def test_over_a_limit_the_client_learns_when_to_retry(client):
    assert [client.ask("/echo/", key="hourly").status for _ in range(4)] == [200, 200, 200, 429]
    answer = client.ask("/echo/", key="hourly")
    assert is_problem(answer, 429)
    assert 1100 < int(answer["Retry-After"]) <= 1200
    assert answer["RateLimit-Policy"] == '"hour";q=3;w=3600'
    assert answer["RateLimit"].startswith('"hour";r=0;t=')
    assert answer.json()["violated-policies"] == ["hour"]
    assert "x-should-retry" not in answer
    assert "WWW-Authenticate" not in answer


def test_over_a_limit_the_client_gets_403_where_the_operator_says_so(client_of_403):
    """For proxies that know only 401 and 403; the reason and the headers stay."""
    assert [client_of_403.ask("/echo/", key="hourly").status for _ in range(4)] == [200, 200, 200, 403]
    answer = client_of_403.ask("/echo/", key="hourly")
    assert is_problem(answer, 403)
    assert answer.json()["violated-policies"] == ["hour"]
    assert all(name in answer for name in ("Retry-After", "RateLimit", "RateLimit-Policy"))


def test_over_a_monthly_quota_the_client_is_told_not_to_retry(client):
    assert [client.ask("/echo/", key="monthly").status for _ in range(3)] == [200, 200, 429]
    answer = client.ask("/echo/", key="monthly")
    assert is_problem(answer, 429)
    assert answer["x-should-retry"] == "false"
    assert answer.json()["violated-policies"] == ["month"]
    assert int(answer["Retry-After"]) > 0


def test_an_address_outside_of_the_keys_networks_is_refused(client):
    answer = client.ask("/echo/", "X-Forwarded-For: 192.0.2.1", "X-Real-Ip: 192.0.2.1", key="elsewhere")
    assert is_problem(answer, 403)


@pytest.mark.parametrize("method", ["FOO", "get", "TRACE", "PROPFIND", "A" * 300, "GET_", "PRI"])
def test_an_unusual_method_never_reaches_the_model(client, method):
    answer = client.ask("/echo/", key="all", method=method)
    assert answer.status in (400, 403, 405, 501)
    assert "X-Served-By" not in answer


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_the_methods_of_an_api_pass_with_a_key_and_not_without(client, method):
    assert client.ask("/echo/", method=method).status == 401
    answer = client.ask("/echo/", key="all", method=method)
    assert (answer.status, answer["X-Served-By"]) == (200, "echo")


def test_connect_never_reaches_the_model(client):
    answer = client.ask("/echo/", key="all", method="CONNECT")
    assert answer.status >= 400
    assert "X-Served-By" not in answer


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("revoked", 401), ("echo2", 403), ("hourly_head", 429)])
def test_a_refusal_of_head_has_headers_and_no_body(client, key, status):
    for _ in range(3 if status == 429 else 0):
        client.ask("/echo/", key=key)
    answer = client.ask("/echo/", key=key, method="HEAD")
    assert answer.status == status
    assert answer["Content-Type"] == "application/problem+json"
    assert ("Retry-After" in answer) == (status == 429)


@pytest.mark.parametrize(
    "path", ["/", "/auth", "/auth/", "/auth/?model=echo", "/admin/", "/api/v1/", "/livez", "/metrics"]
)
def test_nothing_but_the_models_is_public(client, path):
    for lines in ((), ("X-Forwarded-Uri: /echo/", "X-Forwarded-Method: GET"), ("X-Forwarded-Prefix: /echo",)):
        answer = client.ask(path, *lines, key="all")
        assert (answer.status, answer.body) == (404, b"404 page not found\n")
