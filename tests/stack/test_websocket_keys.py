"""A browser's websocket cannot set headers, so it sends its key as a subprotocol. The model never sees it."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from deploy.demo import traefik
from deploy.demo.children import Children
from deploy.demo.place import CHECKOUT
from deploy.demo.ports import free_ports, status_of
from deploy.demo.service import DemoService
from tests.patient import PATIENT
from tests.stack.conftest import Client, _first_of_two_free_ports
from tests.stack.websocket import open_as_a_browser

HEADER = "Sec-WebSocket-Protocol"


@pytest.fixture(scope="module")
def configuration(tmp_path_factory):
    """The shipped configuration, with the header in both lists."""
    folder = tmp_path_factory.mktemp("websockets")
    shutil.copytree(traefik.CONFIGURATION, folder, dirs_exist_ok=True)
    models = folder / "dynamic" / "models.yml"
    text = models.read_text()
    for old, new in (
        ("[Authorization, X-Api-Key, Traceparent]", f"[Authorization, X-Api-Key, Traceparent, {HEADER}]"),
        ("          - X-Api-Key\n", f"          - X-Api-Key\n          - {HEADER}\n"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    models.write_text(text)
    return folder


@pytest.fixture(scope="module")
def browser(stack, client, configuration, tmp_path_factory):
    """Another gate on the same stores that accepts such keys, behind another Traefik in front of the same models."""
    gate, admin, unused = free_ports(3)
    logs = tmp_path_factory.mktemp("logs")
    place = replace(stack.place, gateway=_first_of_two_free_ports(), gate=gate, admins=(admin, unused))
    service = DemoService(place, more={**PATIENT, "AUTHSVC_WEBSOCKET_KEYS": "1", "AUTHSVC_LOG_DECISIONS": "all"})
    children = Children(logs, CHECKOUT)
    access_log = place.logs / "access.log"  # the stack's own Traefik writes there, too
    before = access_log.stat().st_size if access_log.exists() else 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traefik, "CONFIGURATION", configuration)
        try:
            service.start_gate(children, processes=1)
            traefik.start_traefik(place, children, stack.models)
            children.wait_until(lambda: status_of(place.gateway, "/echo/") == 401, "The gate behind Traefik")
            yield Client(place.gateway, client.keys)
        finally:
            children.stop()
    written = "".join(path.read_text(errors="replace") for path in logs.rglob("*") if path.is_file())
    written += access_log.read_bytes()[before:].decode(errors="replace")
    assert not [name for name, key in client.keys.items() if key in written]


def offer(browser, *protocols, key="all", path="/echo/x", prefix="authsvc.key."):
    texts = [f"{prefix}{browser.keys[key]}" if one == "KEY" else one for one in protocols]
    return open_as_a_browser(browser.port, path, texts)


@pytest.mark.parametrize("protocols", [("chat", "KEY"), ("KEY", "chat"), ("chat", "KEY", "chat.v2")])
def test_a_websocket_opens_and_the_model_gets_the_other_subprotocols_alone(browser, protocols):
    opened = offer(browser, *protocols)
    assert (opened.status, opened.echoed) == (101, b"are you there?")
    assert opened.headers["sec-websocket-protocol"] == "chat"
    assert opened.seen["sec-websocket-protocol"] == ", ".join(one for one in protocols if one != "KEY")
    assert opened.seen["x-auth-key"] == browser.keys["all"].split("_")[1]
    assert browser.keys["all"] not in str(opened)


def test_a_key_in_other_letters_of_the_prefix_reaches_no_model_either(browser):
    opened = offer(browser, "chat", "KEY", prefix="AuthSvc.KEY.")
    assert opened.status == 101
    assert opened.seen["sec-websocket-protocol"] == "chat"


def test_a_model_that_answers_no_subprotocol_cannot_be_opened_by_a_browser(browser):
    with pytest.raises(AssertionError, match="a browser ends this connection"):
        offer(browser, "chat", "KEY", path="/echo/mute/x")


def test_a_key_in_a_header_leaves_the_subprotocols_as_they_are(browser):
    opened = open_as_a_browser(browser.port, "/echo/x", ["chat", "chat.v2"], browser.bearer("all"))
    assert opened.seen["sec-websocket-protocol"] == "chat, chat.v2"
    assert "authorization" not in opened.seen


@pytest.mark.parametrize("key", ["revoked", "unknown", "forged", "expired"])
def test_a_key_that_is_not_valid_opens_nothing(browser, key):
    assert offer(browser, "chat", "KEY", key=key).status == 401


def test_two_keys_or_none_open_nothing(browser):
    assert offer(browser, "KEY", "KEY").status == 401
    assert offer(browser, "chat", "authsvc.key.").status == 401
    both = [f"authsvc.key.{browser.keys['all']}"]
    assert open_as_a_browser(browser.port, "/echo/x", both, browser.bearer("all")).status == 401


def test_a_model_of_another_plan_stays_closed(browser):
    assert offer(browser, "chat", "KEY", key="echo", path="/echo2/x").status == 403


def test_by_default_a_subprotocol_is_no_key_and_reaches_the_model(client):
    opened = open_as_a_browser(client.port, "/echo/x", ["chat", "other"], client.bearer("all"))
    assert opened.seen["sec-websocket-protocol"] == "chat, other"
    assert offer(client, "chat", "KEY").status == 401
