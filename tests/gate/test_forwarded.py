"""Headers from Traefik: deny, never repair."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.gate import decision
from authsvc.gate.decision import LONGEST_REMEMBERED, read_again, read_request
from authsvc.gate.forwarded import PATH, ForwardedRequest, GateRequest, first_address, read_headers, request_id
from authsvc.gate.verdict import Verdict
from quotas.facts import catalogue_from_json

GOOD = {
    b"x-forwarded-uri": b"/sm/ner?q=1",
    b"x-forwarded-method": b"POST",
    b"x-forwarded-for": b"203.0.113.7",
}

RECORDED = [
    tuple(line.split("\t"))
    for line in (Path(__file__).parent / "uris.tsv").read_text().splitlines()
    if not line.startswith("#")
]

UNCLEAN = [
    b"",
    b"/",
    b"x",
    b"sm/x",
    b"//sm",
    b"/sm//x",
    b"/sm/./x",
    b"/sm/../lg",
    b"/sm/..",
    b"/sm/.",
    b"/./sm",
    b"/../sm",
    b"/sm/..?x",
    b"/sm/.?x",
    b"/sm;x",
    b"/sm/x;y=1",
    b"/sm\\x",
    b"/sm/x#y",
    b"/sm/x y",
    b"/sm/\tx",
    b"/sm/\x00",
    b"/sm/\x7f",
    b"/sm/\xc3\xa9",
    b"/sm/%",
    b"/sm/%2",
    b"/sm/%zz",
    b"/sm/%u002e",
    b"/sm/%2e%2e/lg",
    b"/sm/%2E",
    b"/sm/.%2e",
    b"/sm/%2f",
    b"/sm%2Fx",
    b"/sm%2F..%2Flg",
    b"/sm/%5c",
    b"/sm/%5C..",
    b"/sm/%3b",
    b"/sm/%3Bx",
    b"/sm/%3f",
    b"/sm/%3F",
    b"/sm/%23",
    b"/sm/%25",
    b"/sm/%252e",
    b"/sm/%00",
    b"/sm/%0a",
    b"/sm/%0D%0A",
    b"/sm/%1f",
    b"/sm/%1F",
    b"/sm/%7f",
    b"/sm/%7F",
    b"http://x/sm",
    b"*",
    b"/sm\r\nx: y",
    b"/sm/<x>",
    b'/sm/"x"',
    b"/sm/{x}",
    b"/sm/|",
    b"/sm/^",
    b"/sm/`",
    b"?",
    b"/?",
    b"/?\xc3\xa9",
    b"/sm//x?\xc3\xa9",
]

UNCLEAN_QUERIES = [
    b"/sm/x?\x00",
    b"/sm/x?a b",
    b"/sm?q=\xc3\xa9",
    b"/sm/?\xff",
    b"/sm/x?\x7f",
    b"/sm/x?a\nb",
    b"/sm?/../lg\t",
]

CLEAN = [
    (b"/sm", "/sm"),
    (b"/sm/", "/sm/"),
    (b"/sm?x", "/sm"),
    (b"/sm/?", "/sm/"),
    (b"/sm/x?/../lg", "/sm/x"),
    (b"/sm/...", "/sm/..."),
    (b"/sm/.x", "/sm/.x"),
    (b"/sm/x.", "/sm/x."),
    (b"/sm/..x", "/sm/..x"),
    (b"/sm/a%20b", "/sm/a%20b"),
    (b"/sm/%C3%A9", "/sm/%C3%A9"),
    (b"/sm/%2A", "/sm/%2A"),
    (b"/sm/@:,+=&$!'()*~_-[]", "/sm/@:,+=&$!'()*~_-[]"),
    (b"/SM", "/SM"),
    (b"/sm/x?%2e%2e%2f", "/sm/x"),
]


def read(query: bytes = b"", **changes: bytes | None) -> ForwardedRequest | Verdict:
    headers = GOOD | {name.replace("_", "-").encode(): value for name, value in changes.items()}
    found = {name: value for name, value in headers.items() if value is not None}
    return read_request(GateRequest(PATH, query, found, repeats=False))


@pytest.mark.parametrize("uri", UNCLEAN)
def test_an_unclean_path_is_denied(uri):
    assert read(x_forwarded_uri=uri) is Verdict.UNCLEAN_PATH


@pytest.mark.parametrize("uri", UNCLEAN_QUERIES)
def test_a_clean_path_with_an_unclean_query_is_denied_for_the_query(uri):
    assert read(x_forwarded_uri=uri) is Verdict.UNCLEAN_QUERY


@pytest.mark.parametrize("end", [b"", b"?" + b"q" * 4000, b"//"])
def test_a_uri_may_have_8192_bytes_with_its_query(end):
    fits = b"/sm/" + b"a" * (8192 - 4 - len(end)) + end
    assert read(x_forwarded_uri=fits) is not Verdict.URI_TOO_LONG
    assert read(x_forwarded_uri=fits.replace(b"a", b"aa", 1)) is Verdict.URI_TOO_LONG


def test_a_uri_that_is_too_long_is_refused_before_it_is_matched(monkeypatch):
    monkeypatch.setattr(decision, "CLEAN_URI", None)
    assert read(x_forwarded_uri=b"/sm/" + b"%" * 8192) is Verdict.URI_TOO_LONG


@pytest.mark.parametrize(("uri", "path"), CLEAN)
def test_a_clean_path_stays_as_it_is_and_its_query_takes_no_part(uri, path):
    request = read(x_forwarded_uri=uri)
    assert isinstance(request, ForwardedRequest)
    assert request.path == path


@pytest.mark.parametrize(("uri", "router"), RECORDED)
def test_a_recorded_path_never_leads_to_a_model_other_than_its_router_s(uri, router):
    request = read(x_forwarded_uri=uri.encode())
    if isinstance(request, ForwardedRequest):
        model = TWO_MODELS.model_at(request.path)
        assert model is None or model.slug == f"en_core_web_{router}"


@given(st.text(alphabet="/.%2fFeE5cC;?#\\ab ", max_size=30).map(lambda text: "/en_core_web_sm" + text))
def test_no_path_that_leaves_its_model_when_decoded_is_clean(uri):
    request = read(x_forwarded_uri=uri.encode())
    if isinstance(request, ForwardedRequest):
        decoded = request.path
        for _ in range(3):
            decoded = re.sub("%([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), decoded).replace("\\", "/")
            assert not {".", ".."} & set(decoded.split("/"))
            assert "//" not in decoded


@given(st.binary(max_size=60))
def test_any_bytes_end_in_a_request_or_a_verdict(uri):
    outcome = read(x_forwarded_uri=uri)
    assert isinstance(outcome, ForwardedRequest) or outcome in (Verdict.UNCLEAN_PATH, Verdict.UNCLEAN_QUERY)


@pytest.mark.parametrize("name", GOOD)
def test_each_forwarded_header_comes_exactly_once(name):
    headers = [(n, v) for n, v in GOOD.items() if n != name]
    assert read_request(read_headers(PATH, b"", headers)) is Verdict.NOT_FORWARDED
    assert read_request(read_headers(PATH, b"", [*GOOD.items(), (name, GOOD[name])])) is Verdict.NOT_FORWARDED
    assert isinstance(read_request(read_headers(PATH, b"", list(GOOD.items()))), ForwardedRequest)


@pytest.mark.parametrize("method", [b"get", b"FOO", b"", b"GET,GET", b"G" * 300, b"CONNECT", b"TRACE", b"GET "])
def test_methods_are_a_list(method):
    assert read(x_forwarded_method=method) is Verdict.METHOD_NOT_ALLOWED


@pytest.mark.parametrize(
    ("source", "client"),
    [
        (b"203.0.113.7", "203.0.113.7"),
        (b"203.0.113.7, 127.0.0.1", "203.0.113.7"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"203.0.113.7:4711", "203.0.113.7"),
        (b"203.0.113.7:4711, 10.0.0.4:80", "203.0.113.7"),
        (b"[2001:db8::1]:4711", "2001:db8::1"),
        (b"[2001:DB8::1]", "2001:db8::1"),
        (b"[2001:db8::1], 10.0.0.4", "2001:db8::1"),
        (b"::ffff:203.0.113.7", "203.0.113.7"),
        (b"[::ffff:203.0.113.7]:4711", "203.0.113.7"),
        (b"::FFFF:CB00:7107", "203.0.113.7"),
        (b"fe80::1%eth0", "fe80::1"),
        (b"fe80::1%eth0, 127.0.0.1", "fe80::1"),
    ],
)
def test_the_first_address_is_the_client(source, client):
    request = read(x_forwarded_for=source)
    assert isinstance(request, ForwardedRequest)
    assert request.client == client


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"unknown",
        b"203.0.113.7,127.0.0.1",
        b"1.2.3.4, ",
        b"\xff",
        b"1." * 500,
        b"1.2.3.4:",
        b"1.2.3.4:x",
        b"1.2.3.4:123456",
        b"1.2.3.4 :80",
        b"1.2.3.4:80:80",
        b"[1.2.3.4:80",
        b"[2001:db8::1]x",
        b"[]:80",
        b"1.2.3:80",
        b":80",
        b"1.2.3.4:\xb2",
        b"1.2.3.4\n",
        b"1.2.3.4, 5.6.7.8:",
    ],
)
def test_an_address_that_cannot_be_read_is_a_fault_of_the_deployment(source):
    assert read(x_forwarded_for=source) is Verdict.NOT_FORWARDED


@pytest.mark.parametrize(
    ("query", "pin"),
    [(b"", ""), (b"model=sm", "sm"), (b"model=en.core-1", "en.core-1"), (b"model=" + b"m" * 63, "m" * 63)],
)
def test_the_pin_is_read(query, pin):
    request = read(query)
    assert isinstance(request, ForwardedRequest)
    assert request.pin == pin


@pytest.mark.parametrize(
    "query",
    [
        b"model=",
        b"model",
        b"model=sm&model=sm",
        b"model=sm&model=lg",
        b"model=%73m",
        b"model=../lg",
        b"models=x",
        b"MODEL=sm",
        b"Model=sm",
        b"mod%65l=sm",
        b"%6dodel=sm",
        b"a;model=sm",
        b"model=sm;a",
        b"a=b&model=sm",
        b"model=sm&a=b",
        b"&model=sm",
        b"model=sm&",
        b"other=1",
        b"&",
        b"=",
        b"?model=sm",
        b" model=sm",
        b"model=sm ",
        b"model =sm",
        b"model=sm\n",
        b"model[]=sm",
        b"model=" + b"m" * 64,
        b"x",
        b"model:sm",
        b"model=_sm",
        b"model=sm#",
        b"m\xc3\xb6del=sm",
    ],
)
def test_a_pin_that_cannot_be_read_matches_nothing(query):
    assert read(query) is Verdict.PIN_MISMATCH


def test_a_valid_trace_names_the_request():
    trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert request_id({b"traceparent": trace}) == b"4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    "trace",
    [
        b"",
        b"x",
        b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-" + b"0" * 16 + b"-01",
        b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
    ],
)
def test_an_invalid_traceparent_is_replaced_with_an_id_of_our_own(trace):
    ours = request_id({b"traceparent": trace})
    assert re.fullmatch(rb"[0-9a-f]{32}", ours)
    assert ours != request_id({b"traceparent": trace})


TWO_MODELS = catalogue_from_json(
    """{"version": 1, "foreign_checks": false, "plans": {}, "models": {
    "en_core_web_sm": {"path": "/en_core_web_sm", "cost": 1, "enabled": true},
    "en_core_web_lg": {"path": "/en_core_web_lg", "cost": 1, "enabled": true}}}"""
)


@pytest.mark.parametrize("end", [b";", b"%2f", b"/..", b"/;", b"%"])
@pytest.mark.parametrize("whole", [b"a", b"%20", b"a%20", b"/a"])
def test_the_longest_path_is_refused_without_trying_all_its_parts_again(whole, end):
    """A pattern that gives back what it has matched would still be at it when the sun burns out."""
    uri = b"/" + whole * (8000 // len(whole)) + end
    assert read(x_forwarded_uri=uri) is Verdict.UNCLEAN_PATH


def test_a_short_request_that_comes_again_is_read_once_and_a_long_one_is_not_remembered():
    def read(uri: bytes) -> object:
        return read_request(read_headers(PATH, b"model=sm", list((GOOD | {b"x-forwarded-uri": uri}).items())))

    read_again.cache_clear()
    for uri in (b"/sm/ner", b"/sm/../lg", b"/sm/" + b"x" * LONGEST_REMEMBERED):
        assert read(uri) == read(uri)
    assert (read_again.cache_info().hits, read_again.cache_info().currsize) == (2, 2)
    long = {b"x-forwarded-uri": b"/sm/" + b"x" * 300, b"x-forwarded-for": b", ".join([b"203.0.113.7"] * 19)}
    read_request(read_headers(PATH, b"model=sm", list((GOOD | long).items())))
    read_request(read_headers(PATH, b"x" * LONGEST_REMEMBERED, list(GOOD.items())))
    assert read_again.cache_info().currsize == 2, "all that is remembered counts"
    assert read(b"/sm/ner?q=1") != read(b"/sm/ner2?q=1"), "each URI is one of its own"
    assert read_again.cache_info().maxsize == 4096


def test_a_long_list_of_addresses_is_no_forwarded_request():
    """No proxy of ours writes one, and what is read once is remembered."""
    longest = ", ".join(["203.0.113.7"] * 19 + ["192.0.2.7"])
    assert len(longest) == 256
    assert first_address(longest.encode()) == "203.0.113.7"
    assert first_address(longest.encode() + b"0") is None
