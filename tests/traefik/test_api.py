"""Reading Traefik's API when something else answers: one sentence each, and no password for strangers."""

from __future__ import annotations

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from traefik import api
from traefik.api import Access, Configuration, Middleware, Router, TraefikUnreadable, read_routers


@contextmanager
def answering(status, body=b"[]", **headers):
    """A server with one answer to everything; yields its address and what it was sent."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, dict(self.headers)))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", seen
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (200, b"<html>", "its answer is not JSON"),
        (200, b"{}", "is not a list: is this Traefik's API"),
        (401, b"", "requires a password: use --traefik-user and --traefik-password-file"),
        (404, b"", "name it with --traefik-host"),
        (503, b"", "answered 503"),
    ],
)
def test_anything_but_traefiks_api_is_reported_in_one_sentence(status, body, sentence):
    with answering(status, body) as (url, _), pytest.raises(TraefikUnreadable, match=sentence):
        read_routers(Access(url=url))


def test_a_redirect_is_not_followed_and_the_password_goes_nowhere():
    with answering(200) as (elsewhere, told), answering(301, Location=f"{elsewhere}/api") as (url, _):
        with pytest.raises(TraefikUnreadable, match=f"redirects to {elsewhere}: use that as --traefik-url"):
            read_routers(Access(url=url, user="ada", password="secret"))
        assert told == []


def test_the_password_is_in_no_text():
    access = Access(url="http://127.0.0.1:1", user="ada", password="secret")
    with pytest.raises(TraefikUnreadable) as told:
        read_routers(access)
    assert "secret" not in repr(access) + str(told.value)


def test_the_host_and_the_password_are_sent():
    with answering(200) as (url, seen):
        read_routers(Access(url=url, host="dashboard.test", user="ada", password="secret"))
    assert {(headers["Host"], headers["Authorization"]) for _, headers in seen} == {
        ("dashboard.test", "Basic YWRhOnNlY3JldA==")
    }


def test_an_endless_list_of_pages_is_cut_off(monkeypatch):
    monkeypatch.setattr(api, "MOST_PAGES", 3)
    with answering(200, X_Next_Page="2") as (url, seen), pytest.raises(TraefikUnreadable, match="has no last page"):
        read_routers(Access(url=url))
    assert len(seen) == 3


def test_an_endless_reply_is_refused(monkeypatch):
    monkeypatch.setattr(api, "LONGEST_REPLY", 10)
    with (
        answering(200, b"[" + b" " * 20 + b"]") as (url, _),
        pytest.raises(TraefikUnreadable, match="more than 10 bytes"),
    ):
        read_routers(Access(url=url))


def test_incomplete_rows_do_no_harm():
    """Other versions may omit things: what is missing is empty."""
    with answering(200, b'[{}, {"name": "a@b", "type": "forwardauth"}, 7]') as (url, _):
        configuration = read_routers(Access(url=url))
    assert len(configuration.routers) == 2
    assert [configuration.chain(router) for router in configuration.routers] == [(), ()]


def test_proxies_in_the_environment_are_ignored(monkeypatch):
    with answering(200) as (proxy, asked), answering(200) as (url, _):
        monkeypatch.setenv("http_proxy", proxy)
        read_routers(Access(url=url))
        assert asked == []


def test_a_request_meets_the_middlewares_of_a_routers_parents_first():
    def router(name: str, *middlewares: str, parents: tuple[str, ...] = ()) -> Router:
        return Router(name, "", 0, (), middlewares, "", parents, takes_tls=False, is_enabled=True, errors=())

    child = router("child@file", "own@file", parents=("parent@file",))
    known = {name: Middleware(name, "headers", {}) for name in ("own@file", "parents@file")}
    read = Configuration("", (child, router("parent@file", "parents@file")), known, {}, {})
    assert [one.name for one in read.chain(child)] == ["parents@file", "own@file"]
