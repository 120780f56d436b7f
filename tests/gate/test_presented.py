"""Client headers → the presented key: exactly one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from accounts.keys import KeyReader, Pepper, PresentedKey, new_key
from authsvc.gate.app import close_gate
from authsvc.gate.decision import read_key
from authsvc.gate.forwarded import WANTED_OF_BROWSERS, read_headers
from authsvc.gate.presented import ForeignKey, without_keys
from authsvc.gate.verdict import Verdict

PEPPER = Pepper.of("p" * 40)
KEY = new_key("A" * 16, "ask", PEPPER).text.encode()
OTHER = new_key("B" * 16, "ask", PEPPER).text.encode()


def read(*headers: tuple[bytes, bytes], imported: bool = False):
    return read_key(read_headers("/auth/", b"", list(headers)).headers, lookup_of(imported=imported))


def lookup_of(*, imported: bool) -> Any:
    """What reading a string needs of a look-up."""
    return SimpleNamespace(reader=KeyReader("ask", [PEPPER]), takes_imported=imported, catalogue=None)


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer " + KEY),
        (b"authorization", b"bearer " + KEY),
        (b"authorization", b"BEARER " + KEY),
        (b"authorization", b"Token " + KEY),
        (b"authorization", b"Bearer  " + KEY),
        (b"x-api-key", KEY),
    ],
)
def test_a_key_is_read_from_each_place(header):
    assert isinstance(read(header), PresentedKey)


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ([], Verdict.NO_KEY),
        ([(b"authorization", b"Basic dXNlcjpwYXNz")], Verdict.NO_KEY),
        ([(b"authorization", b"")], Verdict.NO_KEY),
        ([(b"authorization", KEY)], Verdict.NO_KEY),
        ([(b"authorization", b"Bearer")], Verdict.NO_KEY),
        ([(b"authorization", b"Bearer ")], Verdict.NO_KEY),
        ([(b"authorization", b"Token\t")], Verdict.NO_KEY),
        ([(b"authorization", b"  \t ")], Verdict.NO_KEY),
        ([(b"authorization", b"Bearer"), (b"authorization", b"")], Verdict.NO_KEY),
        ([(b"authorization", b", Bearer ,")], Verdict.NO_KEY),
        ([(b"x-api-key", b"")], Verdict.NO_KEY),
        ([(b"x-api-key", b" \t")], Verdict.NO_KEY),
        ([(b"x-api-key", b""), (b"x-api-key", b",")], Verdict.NO_KEY),
        ([(b"authorization", b"Bearer"), (b"x-api-key", b"")], Verdict.NO_KEY),
        ([(b"authorization", b'Digest username="a", realm="b"')], Verdict.NO_KEY),
        ([(b"authorization", b"Bearer junk")], Verdict.FOREIGN_KEY),
        ([(b"authorization", b"Bearer " + KEY[:-1])], Verdict.INCOMPLETE_KEY),
        ([(b"authorization", b"Bearer " + KEY), (b"authorization", b"Bearer " + OTHER)], Verdict.SEVERAL_KEYS),
        ([(b"authorization", b"Bearer " + KEY), (b"authorization", b"Bearer " + KEY)], Verdict.SEVERAL_KEYS),
        ([(b"authorization", b"Basic x"), (b"authorization", b"Bearer " + KEY)], Verdict.SEVERAL_KEYS),
        ([(b"authorization", b"Bearer " + KEY), (b"x-api-key", KEY)], Verdict.SEVERAL_KEYS),
        ([(b"x-api-key", KEY), (b"x-api-key", KEY)], Verdict.SEVERAL_KEYS),
        ([(b"authorization", b"Bearer " + KEY + b",Bearer " + KEY)], Verdict.SEVERAL_KEYS),
        ([(b"authorization", b"Bearer " + KEY), (b"x-api-key", OTHER)], Verdict.SEVERAL_KEYS),
        ([(b"authorization", b"Bearer " + KEY), (b"x-api-key", b""), (b"x-api-key", OTHER)], Verdict.SEVERAL_KEYS),
        ([(b"x-api-key", KEY), (b"x-api-key", b""), (b"x-api-key", OTHER)], Verdict.SEVERAL_KEYS),
        ([(b"x-api-key", KEY + b"," + OTHER)], Verdict.SEVERAL_KEYS),
        ([(b"authorization", b"Bearer " + KEY + b", " + OTHER)], Verdict.SEVERAL_KEYS),
        ([(b"authorization", b"Basic x,Bearer " + KEY), (b"x-api-key", OTHER)], Verdict.SEVERAL_KEYS),
        ([(b"authorization", b""), (b"authorization", b"Bearer " + KEY), (b"x-api-key", OTHER)], Verdict.SEVERAL_KEYS),
    ],
)
def test_what_is_no_single_key_is_refused(headers, verdict):
    assert read(*headers) is verdict


BESIDE = {
    "an empty X-Api-Key": [(b"authorization", b"Bearer " + KEY), (b"x-api-key", b"")],
    "white space as X-Api-Key": [(b"authorization", b"Bearer " + KEY), (b"x-api-key", b" \t ")],
    "two empty X-Api-Key": [(b"x-api-key", b""), (b"authorization", b"Bearer " + KEY), (b"x-api-key", b"")],
    "folded empty X-Api-Key": [(b"authorization", b"Bearer " + KEY), (b"x-api-key", b", ,")],
    "an empty Authorization": [(b"authorization", b""), (b"x-api-key", KEY)],
    "a bare Bearer": [(b"authorization", b"Bearer"), (b"x-api-key", KEY)],
    "a Bearer with blanks": [(b"authorization", b"Bearer \t "), (b"x-api-key", KEY)],
    "an empty one before": [(b"authorization", b""), (b"authorization", b"Bearer " + KEY)],
    "an empty one behind": [(b"authorization", b"Bearer " + KEY), (b"authorization", b" ")],
    "a bare Bearer before": [(b"authorization", b"Bearer"), (b"authorization", b"Bearer " + KEY)],
    "a folded empty one before": [(b"authorization", b",Bearer " + KEY)],
    "a folded empty one behind": [(b"authorization", b"Bearer " + KEY + b", ")],
    "an empty one of its own name before": [(b"x-api-key", b""), (b"x-api-key", KEY)],
    "an empty one of its own name behind": [(b"x-api-key", KEY), (b"x-api-key", b"\t")],
    "a folded empty one of its own name": [(b"x-api-key", b"," + KEY)],
    "blanks around it": [(b"x-api-key", b"\t" + KEY + b" ")],
    "blanks around the header": [(b"authorization", b" Bearer " + KEY + b"\t")],
}


@pytest.mark.parametrize("what", BESIDE)
def test_an_empty_place_is_as_if_it_were_not_there(what):
    key = read(*BESIDE[what])
    assert isinstance(key, PresentedKey)
    assert key.public_id == "A" * 16


def test_a_different_scheme_beside_an_api_key_is_ignored():
    assert isinstance(read((b"authorization", b"Basic dXNlcjpwYXNz"), (b"x-api-key", KEY)), PresentedKey)


def test_a_foreign_string_is_looked_up_only_where_imports_are_on():
    foreign = (b"x-api-key", b"sk-live-0123456789abcdef")
    assert read(foreign) is Verdict.FOREIGN_KEY
    assert isinstance(read(foreign, imported=True), ForeignKey)
    assert read((b"x-api-key", b"short"), imported=True) is Verdict.FOREIGN_KEY
    for length, is_read in ((15, False), (16, True), (512, True), (513, False)):
        assert isinstance(read((b"x-api-key", b"x" * length), imported=True), ForeignKey) is is_read
    for character in (b" ", b"\x7f", b"\xe9"):
        assert read((b"x-api-key", b"sk-live-0123%b456789" % character), imported=True) is Verdict.FOREIGN_KEY
    assert read((b"x-api-key", KEY[:-1]), imported=True) is Verdict.INCOMPLETE_KEY


WEBSOCKET = b"sec-websocket-protocol"


def read_as_browsers(*headers: tuple[bytes, bytes]):
    return read_key(read_headers("/auth/", b"", list(headers), WANTED_OF_BROWSERS).headers, lookup_of(imported=False))


@pytest.mark.parametrize(
    "headers",
    [
        [(WEBSOCKET, b"authsvc.key." + KEY)],
        [(WEBSOCKET, b"chat, authsvc.key." + KEY)],
        [(WEBSOCKET, b"authsvc.key." + KEY + b",chat")],
        [(WEBSOCKET, b"chat"), (WEBSOCKET, b"AUTHSVC.key." + KEY)],
        [(WEBSOCKET, b"authsvc.key." + KEY), (b"authorization", b"Bearer"), (b"x-api-key", b"")],
        [(WEBSOCKET, b"authsvc.key., authsvc.key." + KEY)],
        [(WEBSOCKET, b"chat, chat.v2"), (b"authorization", b"Bearer " + KEY)],
    ],
)
def test_a_key_may_be_a_subprotocol(headers):
    assert isinstance(read_as_browsers(*headers), PresentedKey)


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ([(WEBSOCKET, b"authsvc.key." + KEY), (b"authorization", b"Bearer " + OTHER)], Verdict.SEVERAL_KEYS),
        ([(WEBSOCKET, b"authsvc.key." + KEY), (b"x-api-key", KEY)], Verdict.SEVERAL_KEYS),
        ([(WEBSOCKET, b"authsvc.key." + KEY + b", authsvc.key." + OTHER)], Verdict.SEVERAL_KEYS),
        (
            [(WEBSOCKET, b"chat"), (WEBSOCKET, b"authsvc.key." + KEY), (WEBSOCKET, b"authsvc.key." + KEY)],
            Verdict.SEVERAL_KEYS,
        ),
        ([(WEBSOCKET, b"authsvc.key." + KEY[:-1])], Verdict.INCOMPLETE_KEY),
        ([(WEBSOCKET, b"authsvc.key.")], Verdict.NO_KEY),
        ([(WEBSOCKET, KEY)], Verdict.NO_KEY),
        ([(WEBSOCKET, b"chat")], Verdict.NO_KEY),
    ],
)
def test_a_subprotocol_is_one_more_place_for_the_one_key(headers, verdict):
    assert read_as_browsers(*headers) is verdict


def test_by_default_a_subprotocol_is_no_place_for_a_key():
    assert read((WEBSOCKET, b"authsvc.key." + KEY)) is Verdict.NO_KEY
    assert isinstance(read((WEBSOCKET, b"authsvc.key." + OTHER), (b"x-api-key", KEY)), PresentedKey)


def test_the_model_is_offered_what_is_no_key():
    offered = b"chat,authsvc.key." + KEY + b"\nAuthSvc.Key." + KEY + b", chat.v2 ,authsvc.key.,authsvc"
    assert without_keys(offered) == b"chat, chat.v2, authsvc"
    assert without_keys(b"authsvc.key." + KEY) == b""


@pytest.mark.django_db(transaction=True)
def test_an_answer_offers_the_model_the_other_subprotocols_where_the_setting_is_on(ask, issued, settings, on_a_loop):
    offered = {"authorization": None, "sec_websocket_protocol": f"chat, authsvc.key.{issued.text}"}
    assert ask(issued.text, **offered).status == 401
    on_a_loop(close_gate())
    settings.WEBSOCKET_KEYS = True
    answer = ask(issued.text, **offered)
    assert (answer.status, dict(answer.headers)[WEBSOCKET]) == (200, b"chat")
    only = ask(issued.text, authorization=None, sec_websocket_protocol=f"authsvc.key.{issued.text}")
    assert only.status == 200 and WEBSOCKET not in dict(only.headers)
    assert WEBSOCKET not in dict(ask(issued.text).headers)
