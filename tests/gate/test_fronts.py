"""One table of verdicts, through the bare gate, the Django view, and gunicorn with ASGI and with WSGI.

All four must answer with the same status, headers and body.
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.db import connection
from django.test import Client

from accounts.facts.publish import models_base
from accounts.keys import crc_of, new_key
from accounts.models import ApiKey
from accounts.peppers import peppers
from accounts.services.accounts import close_account, create_account, suspend_account
from accounts.services.keys import change_key, issue_key, pause_key, revoke_key
from authsvc.gate import view
from authsvc.gate.verdict import Verdict
from tests.conftest import ACTOR
from tests.gate.conftest import question
from tests.patient import PATIENT
from tests.servers import gunicorn

pytestmark = [pytest.mark.django_db(transaction=True)]

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
Headers = list[tuple[str, str]]


class Seen(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Case(NamedTuple):
    """`make` gets the keys by name and returns path with query, and headers."""

    verdict: Verdict
    make: Callable[[dict[str, str]], tuple[str, Headers]]


def at(query: str = "?model=sm", path: str = "/auth/", *, key: str = "good", more: Headers = [], **changes: str | None):  # noqa: B006
    def make(keys: dict[str, str]) -> tuple[str, Headers]:
        return path + query, [*question(keys.get(key), **changes), *more]

    return make


LARGE: Any = {"x_forwarded_uri": "/v1/large/x", "query": "?model=lg"}

CASES = {
    "allowed": Case(Verdict.ALLOWED, at()),
    "allowed without a pin": Case(Verdict.ALLOWED, at("")),
    "allowed by Token": Case(
        Verdict.ALLOWED, lambda keys: ("/auth/", question(None, authorization=f"Token {keys['good']}"))
    ),
    "allowed by X-Api-Key": Case(Verdict.ALLOWED, lambda keys: ("/auth/", question(None, x_api_key=keys["good"]))),
    "allowed beside Basic": Case(
        Verdict.ALLOWED, lambda keys: ("/auth/", question(None, authorization="Basic eDp5", x_api_key=keys["good"]))
    ),
    "allowed beside an empty X-Api-Key": Case(Verdict.ALLOWED, at(more=[("X-Api-Key", "")])),
    "allowed beside an empty Authorization": Case(Verdict.ALLOWED, at(more=[("Authorization", "")])),
    "allowed beside a bare Bearer": Case(
        Verdict.ALLOWED, lambda keys: ("/auth/", question(None, authorization="Bearer", x_api_key=keys["good"]))
    ),
    "allowed from an address with a port": Case(Verdict.ALLOWED, at(x_forwarded_for="203.0.113.7:4711, 10.0.0.9:80")),
    "allowed through an internal entry point": Case(Verdict.ALLOWED, at(x_forwarded_for="203.0.113.7, 127.0.0.1")),
    "allowed with headers nobody reads": Case(
        Verdict.ALLOWED,
        at(
            more=[
                ("Script-Name", "/x"),
                ("X-Original-Url", "/v1/large"),
                ("Forwarded", "for=1.1.1.1"),
                ("Cookie", "a=b"),
            ]
        ),
    ),
    "no key": Case(Verdict.NO_KEY, at(key="none")),
    "another scheme": Case(Verdict.NO_KEY, at(key="none", authorization="Basic eDp5")),
    "junk": Case(Verdict.FOREIGN_KEY, at(key="none", authorization="Bearer junk")),
    "cut": Case(Verdict.INCOMPLETE_KEY, at(key="cut")),
    "forged": Case(Verdict.FORGED_KEY, at(key="forged")),
    "unknown": Case(Verdict.UNKNOWN_KEY, at(key="unknown")),
    "wrong secret": Case(Verdict.WRONG_SECRET, at(key="wrong")),
    "revoked": Case(Verdict.REVOKED_KEY, at(key="revoked")),
    "expired": Case(Verdict.EXPIRED_KEY, at(key="expired")),
    "paused": Case(Verdict.PAUSED_KEY, at(key="paused")),
    "two keys": Case(Verdict.SEVERAL_KEYS, at(more=[("X-Api-Key", "x")])),
    "two Authorization headers": Case(Verdict.SEVERAL_KEYS, at(more=[("Authorization", "Bearer x")])),
    "model not in the plan": Case(Verdict.MODEL_NOT_ALLOWED, at(**LARGE)),
    "narrowed to another model": Case(Verdict.MODEL_NOT_ALLOWED, at(key="narrow")),
    "another address": Case(Verdict.ADDRESS_NOT_ALLOWED, at(key="home")),
    "another method": Case(Verdict.METHOD_NOT_ALLOWED, at(key="reader")),
    "a method of nobody": Case(Verdict.METHOD_NOT_ALLOWED, at(x_forwarded_method="FOO")),
    "a method in small letters": Case(Verdict.METHOD_NOT_ALLOWED, at(x_forwarded_method="post")),
    "suspended": Case(Verdict.ACCOUNT_SUSPENDED, at(key="suspended")),
    "closed": Case(Verdict.ACCOUNT_CLOSED, at(key="closed")),
    "no X-Forwarded-Uri": Case(Verdict.NOT_FORWARDED, at(x_forwarded_uri=None)),
    "no X-Forwarded-Method": Case(Verdict.NOT_FORWARDED, at(x_forwarded_method=None)),
    "no X-Forwarded-For": Case(Verdict.NOT_FORWARDED, at(x_forwarded_for=None)),
    "two X-Forwarded-Uri": Case(Verdict.NOT_FORWARDED, at(more=[("X-Forwarded-Uri", "/v1/large")])),
    "two X-Forwarded-For": Case(Verdict.NOT_FORWARDED, at(more=[("X-Forwarded-For", "10.0.0.1")])),
    "X_Forwarded_Uri in its place": Case(
        Verdict.NOT_FORWARDED, at(x_forwarded_uri=None, more=[("X_Forwarded_Uri", "/sm/x")])
    ),
    "another path of ours": Case(Verdict.NOT_FORWARDED, at(path="/")),
    "no slash at the end": Case(Verdict.NOT_FORWARDED, at(path="/auth")),
    "the admin": Case(Verdict.NOT_FORWARDED, at(path="/admin/login/")),
    "a static file": Case(Verdict.NOT_FORWARDED, at(path="/static/admin/css/base.css")),
    "escapes in the path": Case(Verdict.UNCLEAN_PATH, at(x_forwarded_uri="/sm/%2e%2e/v1/large")),
    "two slashes": Case(Verdict.UNCLEAN_PATH, at(x_forwarded_uri="/sm//x")),
    "a query beyond ASCII": Case(Verdict.UNCLEAN_QUERY, at(x_forwarded_uri="/sm/x?q=\xc3\xa9")),
    "a URI beyond 8 KB": Case(Verdict.URI_TOO_LONG, at(x_forwarded_uri="/sm/x?q=" + "x" * 8192)),
    "no such model": Case(Verdict.UNKNOWN_MODEL, at("", x_forwarded_uri="/other/x")),
    "a longer name": Case(Verdict.UNKNOWN_MODEL, at("", x_forwarded_uri="/sm2/x")),
    "other letters": Case(Verdict.UNKNOWN_MODEL, at("", x_forwarded_uri="/SM/x")),
    "a part of its path": Case(Verdict.UNKNOWN_MODEL, at("", x_forwarded_uri="/v1/x")),
    "pinned to another": Case(Verdict.PIN_MISMATCH, at("?model=lg")),
    "pinned to nothing": Case(Verdict.PIN_MISMATCH, at("?model=")),
    "pinned in capitals": Case(Verdict.PIN_MISMATCH, at("?MODEL=sm")),
    "pinned beside something else": Case(Verdict.PIN_MISMATCH, at("?a=b&model=sm")),
    "no pin and something else": Case(Verdict.PIN_MISMATCH, at("?a=b")),
    "pinned twice": Case(Verdict.PIN_MISMATCH, at("?model=sm&model=sm")),
    "costs more than its limit holds": Case(Verdict.COST_OVER_BURST, at(key="tiny", **LARGE)),
    "over a limit": Case(Verdict.OVER_LIMIT, at(key="spent")),
}

EXPECTED_STATUS = {401: 401, 403: 403, 429: 429}


def test_the_table_has_a_row_for_every_verdict():
    assert {case.verdict for case in CASES.values()} == set(Verdict) - {Verdict.CANNOT_DECIDE}


@pytest.fixture
def keys(account, pro_account, issued, dearer) -> dict[str, str]:
    """Key texts by what is wrong with them."""
    made = {"good": issued.text, "cut": issued.text[:-3]}
    body = (issued.text[:-12] + "AAAAAA").encode()
    made["forged"] = (body + crc_of(body)).decode()
    made["unknown"] = new_key(account.public_id + "00000000", "ask", peppers()[0]).text
    made["wrong"] = new_key(issued.key.public_id, "ask", peppers()[0]).text

    def issue(word: str, owner=account, **options) -> ApiKey:
        new = issue_key(owner, name=word, actor=ACTOR, **options)
        made[word] = new.text
        return new.key

    revoke_key(issue("revoked"), actor=ACTOR)
    pause_key(issue("paused"), actor=ACTOR)
    models_base(ApiKey).filter(pk=issue("expired").pk).update(expires_at=datetime.now(UTC) - timedelta(hours=1))
    change_key(ApiKey.objects.get(name="expired"), name="expired", actor=ACTOR)
    issue("narrow", models=["lg"])
    issue("home", networks=["10.0.0.0/8", "2001:db8::/32"])
    issue("reader", methods=["GET"])
    from quotas.limits import Limit

    issue("tiny", pro_account, limits=[Limit(name="day", scope="key", amount=5, window="day", unit="units")])
    dearer("lg", 6)
    issue("spent", limits=[Limit(name="day", scope="key", amount=1, window="day")])
    for word, act in (("suspended", suspend_account), ("closed", close_account)):
        owner, _ = create_account(word, account.plan, actor=ACTOR)
        issue(word, owner)
        act(owner, actor=ACTOR)
    return made


@pytest.fixture(scope="module")
def servers(django_db_setup, django_db_blocker, redis_socket, tmp_path_factory) -> Iterator[dict[str, int]]:
    """gunicorn with ASGI, as shipped, and with WSGI and with ASGI trusting every peer's headers."""
    directory = tmp_path_factory.mktemp("fronts")
    env = environment()
    trusting = ["--forwarded-allow-ips", "*"]
    long_fields = ["--limit-request-field_size", "16384"]  # gunicorn's own bound for WSGI would answer first
    with (
        gunicorn(
            "authsvc.asgi:application", directory, "-c", "deploy/gunicorn.conf.py", *trusting, env=env, name="asgi"
        ) as (asgi, _),
        gunicorn(
            "authsvc.wsgi:application",
            directory,
            "--workers",
            "1",
            "--threads",
            "2",
            *trusting,
            *long_fields,
            env=env,
            name="wsgi",
        ) as (wsgi, _),
    ):
        yield {"asgi": asgi, "wsgi": wsgi}


def environment() -> dict[str, str]:
    """What a server of the product needs to use the stores of this test run, with time for every decision."""
    name = connection.settings_dict["NAME"]
    url = f"sqlite:///{name}" if connection.vendor == "sqlite" else postgres_url(str(name))
    return {
        **PATIENT,
        "DATABASE_URL": url,
        "REDIS_URL": os.environ["REDIS_URL"],
        "WEB_CONCURRENCY": "1",
        "AUTHSVC_DRAIN": "0",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


def postgres_url(name: str) -> str:
    base, _, _ = os.environ["AUTHSVC_TEST_DATABASE_URL"].rpartition("/")
    return f"{base}/{name}"


def through_server(port: int, target: str, headers: Headers) -> Seen:
    connection_ = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection_.putrequest("GET", target)
    for name, value in headers:
        connection_.putheader(name, value)
    connection_.endheaders()
    response = connection_.getresponse()
    seen = Seen(response.status, comparable(response.getheaders()), response.read())
    connection_.close()
    return seen


def through_django(target: str, headers: Headers) -> Seen:
    folded: dict[str, str] = {}
    for name, value in headers:
        if "_" in name:
            continue  # WSGI servers drop them: they could not be told from the real ones
        folded[name] = f"{folded[name]},{value}" if name in folded else value
    path, _, query = target.partition("?")
    response = Client().generic("GET", path, QUERY_STRING=query, headers=folded)
    return Seen(response.status_code, comparable(list(response.headers.items())), response.content)


def comparable(headers: list[tuple[str, str]]) -> dict[str, str]:
    of_the_server = ("date", "server", "connection", "transfer-encoding")
    return {name.lower(): value for name, value in headers if name.lower() not in of_the_server}


@pytest.mark.parametrize("name", CASES)
def test_all_fronts_answer_alike(name, keys, servers, ask, on_a_loop, redis_db):
    from authsvc.gate.app import gate
    from tests.gate.conftest import raw

    case = CASES[name]
    if case.verdict is Verdict.OVER_LIMIT:
        assert ask(keys["spent"]).status == 200
    target, headers = case.make(keys)
    headers.append(("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"))
    path, _, query = target.partition("?")

    async def bare():
        return await gate().answer(path, query.encode(), raw(headers))

    def afresh() -> None:
        for bucket in redis_db.scan_iter("*:g:*", count=5000):
            redis_db.delete(bucket)
        for account in redis_db.scan_iter("*:a:*", count=5000):
            for field in redis_db.hkeys(account):
                if field.startswith("n:") and case.verdict is not Verdict.OVER_LIMIT:
                    redis_db.hset(account, field, 0)

    afresh()
    answer = on_a_loop(bare())
    seen = Seen(answer.status, comparable([(n.decode(), v.decode()) for n, v in answer.headers]), answer.body)
    assert seen.status == case.verdict.status
    check(seen, case.verdict)
    for front in (
        lambda: through_django(target, headers),
        lambda: through_server(servers["asgi"], target, headers),
        lambda: through_server(servers["wsgi"], target, headers),
    ):
        afresh()
        assert without_seconds(front()) == without_seconds(seen)


def without_seconds(seen: Seen) -> Seen:
    """Seconds until midnight differ by the second between two fronts."""
    import re

    headers = {
        name: re.sub(r"(?<=t=)\d{3,}|^\d{3,}$", "N", value)
        for name, value in seen.headers.items()
        if name != "content-length"
    }
    return seen._replace(headers=headers)


def check(seen: Seen, verdict: Verdict) -> None:
    """What the table of answers promises."""
    headers = seen.headers
    if verdict is Verdict.ALLOWED:
        assert seen.body == b""
        assert {"x-auth-account", "x-auth-key", "x-auth-plan", "x-auth-model", "ratelimit", "ratelimit-policy"} <= set(
            headers
        )
        assert headers["x-auth-request-id"] == TRACE
        assert all(
            value.isascii() and value.isprintable() and len(value) <= 64
            for name, value in headers.items()
            if name.startswith("x-auth")
        )
        return
    problem = json.loads(seen.body)
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert len(seen.body) <= 2048
    assert problem["status"] == seen.status
    assert problem["request_id"] == TRACE
    assert {"type", "title", "detail"} <= set(problem)
    assert not any(name.startswith("x-auth") for name in headers)
    if verdict is Verdict.NO_KEY:
        assert headers["www-authenticate"] == 'Bearer realm="models"'
    elif verdict.status == 401:
        assert headers["www-authenticate"].startswith(
            'Bearer realm="models", error="invalid_token", error_description="'
        )
    elif verdict is Verdict.MODEL_NOT_ALLOWED:
        assert headers["www-authenticate"].startswith(
            'Bearer realm="models", error="insufficient_scope", scope="model:'
        )
    else:
        assert "www-authenticate" not in headers
    if verdict is Verdict.OVER_LIMIT:
        assert problem["violated-policies"] == ["day"]
        assert 0 < int(headers["retry-after"]) <= 86400
        assert headers["x-should-retry"] == "false"
        assert '"day";r=0;t=' in headers["ratelimit"]
        assert '"day";q=1;w=86400' in headers["ratelimit-policy"]


SAME_WORDS = ("forged", "unknown", "wrong secret", "revoked", "expired", "paused")


def test_unknown_wrong_revoked_expired_and_paused_keys_get_the_same_answer(keys, ask):
    bodies = {ask(keys[word.split()[0]]).body.split(b'"request_id"')[0] for word in SAME_WORDS}
    assert len(bodies) == 1


FORGERIES = [
    [("SCRIPT_NAME", "/auth")],
    [("Script-Name", "/auth")],
    [("SCRIPT_NAME", "/admin"), ("Script_Name", "/static")],
    [("PATH_INFO", "/")],
    [("X-Original-URL", "/")],
    [("X-Rewrite-URL", "/")],
    [("X-HTTP-Method-Override", "OPTIONS")],
    [("Host", "console.example.com")],
    [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "x"), ("X-Forwarded-Prefix", "/auth")],
    [("Accept", "text/html"), ("Cookie", "sessionid=x")],
]
PATHS = [
    "/",
    "/auth",
    "/auth/",
    "/auth//",
    "//auth/",
    "/auth/x",
    "/auth/../",
    "/admin/",
    "/admin/login/",
    "/api/v1/",
    "/api/v1/keys/",
    "/static/admin/css/base.css",
    "/livez",
    "/readyz",
    "/metrics",
    "/errors/no_key",
    "/%61uth/",
    "/AUTH/",
    "/?x=/auth/",
    "/favicon.ico",
]


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_a_question_without_a_key_never_gets_a_2xx_whatever_its_path_and_headers(servers, catalogue, kind, method):
    connection_ = http.client.HTTPConnection("127.0.0.1", servers[kind], timeout=60)
    for path in PATHS:
        for forgery in FORGERIES:
            hosts = any(name == "Host" for name, _ in forgery)
            connection_.putrequest(method, path, skip_host=hosts)
            for name, value in [*question(None), *forgery]:
                connection_.putheader(name, value)
            connection_.endheaders()
            response = connection_.getresponse()
            response.read()
            assert response.status >= 400, (path, forgery)
    connection_.close()


def test_head_has_no_body(servers, catalogue):
    for port in servers.values():
        connection_ = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection_.request("HEAD", "/auth/", headers=dict(question(None)))
        response = connection_.getresponse()
        assert (response.status, response.read()) == (401, b"")
        connection_.close()


def test_a_status_of_403_over_a_limit_is_a_setting(keys, ask, monkeypatch):
    from authsvc.gate import answer

    monkeypatch.setattr(answer, "_OVER_LIMIT_STATUS", 403)
    assert ask(keys["spent"]).status == 200
    refused = ask(keys["spent"])
    assert refused.status == json.loads(refused.body)["status"] == 403
    assert b"retry-after" in dict(refused.headers)


def test_a_view_whose_loop_does_not_answer_in_time_asks_to_try_again(monkeypatch):
    def hang(coroutine):
        coroutine.close()
        raise TimeoutError

    monkeypatch.setattr(view, "_on_the_loop", hang)
    response = Client().get("/auth/", headers=dict(question(None)))
    assert (response.status_code, response["Retry-After"]) == (503, "1")


@pytest.mark.parametrize(
    ("serves", "path", "headers", "status"),
    [
        (["console"], "/auth/", {}, 403),
        (["console"], "/sign-in/", {"X-Forwarded-Uri": "/sm/x"}, 403),
        (["gate"], "/sign-in/", {}, 404),
        (["gate"], "/", {}, 404),
        (["gate"], "/auth/", {}, 403),
        (["gate"], "/", {"X-Forwarded-Uri": "/sm/x"}, 403),
    ],
)
def test_a_process_answers_only_what_it_serves_and_lets_nothing_pass_instead(settings, serves, path, headers, status):
    settings.SERVES = serves
    response = Client().get(path, headers=headers)
    assert response.status_code == status
    if serves == ["console"]:
        assert response.json()["title"] == "This process is no gate"
    elif status == 403:
        assert response.json()["type"].endswith("not_forwarded")
