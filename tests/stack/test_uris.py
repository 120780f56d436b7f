"""Raw request targets, over HTTP/1.1 and HTTP/2: no spelling reaches a model without a key for it.

A spelling that Traefik, the gate and the model understand alike is that model's, all others are nobody's. (Traefik
takes `..` and `//` out before it routes, so the gate decides about the path that the model gets.)
"""

from __future__ import annotations

import pytest

from tests.stack import wire
from tests.stack.uris import ECHO, ECHO2, NOBODYS

MODEL_OF = dict.fromkeys(ECHO, "echo") | dict.fromkeys(ECHO2, "echo2") | dict.fromkeys(NOBODYS, "-")
UNCLEAN = ("//", "/./", "/../", "\\", ";", "%2f", "%5c", "%2e", "%00", "%23", "%25", "%3b", "%3f", "#")


def over_http1(client, target, key):
    return client.ask(target, key=key)


def over_http2(client, target, key):
    return client.ask_h2(target, key=key)


@pytest.mark.parametrize("over", [over_http1, over_http2])
@pytest.mark.parametrize("key", ["echo", "echo2", None])
def test_no_target_reaches_a_model_that_the_key_may_not_use(client, over, key):
    wrong = {
        target: answered for target in MODEL_OF if (answered := _served_by(over, client, target, key)) not in ("", key)
    }
    assert wrong == {}


@pytest.mark.parametrize("over", [over_http1, over_http2])
def test_a_target_is_answered_by_its_model_and_by_no_other(client, over):
    """With a key for both, so that only the target decides. HTTP/2 refuses more, because there a whole URL is not a path."""
    answered = {target: _served_by(over, client, target, "all") or "-" for target in MODEL_OF}
    may_refuse = over is over_http2
    wrong = {
        target[:80]: model
        for target, model in answered.items()
        if model != MODEL_OF[target] and not (may_refuse and model == "-")
    }
    assert wrong == {}


@pytest.mark.parametrize("escape", ["%2F", "%2f", "%5C", "%5c", "%00", "%3B", "%3b", "%25", "%3F", "%3f", "%23"])
def test_traefik_itself_refuses_what_would_end_or_split_a_path(client, escape):
    """Before the gate, which would have answered 401: two walls, tested separately."""
    answer = client.ask(f"/echo/x{escape}y")
    assert (answer.status, "WWW-Authenticate" in answer) == (400, False)


@pytest.mark.parametrize("path", ["/echoX", "/echo-secret/x", "/echo.x", "/echo22", "/echo,/x", "/echo@x", "/ECHO/"])
def test_a_path_that_only_begins_like_a_model_has_no_router(client, path):
    assert client.ask(path).status == 404


def _served_by(over, client, target, key):
    """The model that answered, after receiving a clean path of its own; nothing if none did."""
    answer = _answer(over, client, target, key)
    if answer is None or answer.status >= 300:
        assert answer is None or "X-Served-By" not in answer
        return ""
    path, model = answer.json()["target"].partition("?")[0], answer.all("X-Served-By")[0]
    assert not any(part in path.lower() for part in UNCLEAN), (target, path)
    assert path.split("/")[1] == model, (target, path)
    return model


def _answer(over, client, target, key):
    try:
        return over(client, target, key)
    except (wire.Refused, ConnectionError):
        return None
