"""Client headers → the presented key: exactly one."""

from __future__ import annotations

import pytest

from accounts.keys import KeyReader, Pepper, PresentedKey, new_key
from authsvc.gate.credentials import ForeignKey, read_key
from authsvc.gate.forwarded import read_headers
from authsvc.gate.verdict import Verdict

PEPPER = Pepper.of("p" * 40)
KEY = new_key("A" * 16, "ask", PEPPER).text.encode()
OTHER = new_key("B" * 16, "ask", PEPPER).text.encode()


def read(*headers: tuple[bytes, bytes], imported: bool = False):
    found, _ = read_headers(list(headers))
    return read_key(found, KeyReader("ask", [PEPPER]), imported=imported, trust_crc=False)


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer " + KEY), (b"authorization", b"bearer " + KEY), (b"authorization", b"BEARER " + KEY),
        (b"authorization", b"Token " + KEY), (b"authorization", b"Bearer  " + KEY), (b"x-api-key", KEY),
    ],
)  # fmt: skip
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


def test_another_scheme_beside_an_api_key_takes_no_part():
    assert isinstance(read((b"authorization", b"Basic dXNlcjpwYXNz"), (b"x-api-key", KEY)), PresentedKey)


def test_a_foreign_string_is_looked_up_only_where_imports_are_on():
    foreign = (b"x-api-key", b"sk-live-0123456789abcdef")
    assert read(foreign) is Verdict.FOREIGN_KEY
    assert isinstance(read(foreign, imported=True), ForeignKey)
    assert read((b"x-api-key", b"short"), imported=True) is Verdict.FOREIGN_KEY
    assert read((b"x-api-key", b"x" * 513), imported=True) is Verdict.FOREIGN_KEY
    assert read((b"x-api-key", KEY[:-1]), imported=True) is Verdict.INCOMPLETE_KEY
