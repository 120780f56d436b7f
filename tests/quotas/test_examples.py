"""A model's example: what an operator may write, and what customers get."""

from __future__ import annotations

import datetime

import pytest
from django.core.exceptions import ValidationError

from quotas.examples import MOST_BYTES, ModelExample, check_example, faults_of_example


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"path": "/ner", "body": {"text": "x"}, "answer": {"entities": []}},
        {"method": "GET", "path": "/health?verbose=1", "answer": "ok"},
        {"method": "DELETE", "path": ""},
        {"body": "plain text"},
        {"path": "/v1/chat/completions", "body": {"messages": [{"role": "user", "content": "é"}]}},
    ],
)
def test_a_good_example_has_no_faults(raw):
    assert list(faults_of_example(raw)) == []
    check_example(raw)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([], "write an object"),
        ("POST /ner", "write an object"),
        ({"header": "x"}, "no field 'header'"),
        ({"method": "post"}, "not one of GET"),
        ({"method": ["POST"]}, "not one of GET"),
        ({"method": "GET", "body": {}}, "a GET has no body"),
        ({"path": "ner"}, "does not continue"),
        ({"path": "/a b"}, "does not continue"),
        ({"path": "/a'b\n"}, "does not continue"),
        ({"path": 7}, "does not continue"),
        ({"path": "/a#b"}, "does not continue"),
        ({"path": "/../admin"}, "segment"),
        ({"path": "//other.example"}, "segment"),
        ({"body": {"at": datetime.date(2026, 1, 1)}}, "only what JSON can represent"),
        ({"body": float("inf")}, "only what JSON can represent"),
        ({"answer": "\ud800"}, "only what JSON can represent"),
        ({"answer": "x" * MOST_BYTES}, "the maximum is"),
    ],
)
def test_each_mistake_is_named(raw, said):
    assert any(said in fault for fault in faults_of_example(raw))
    with pytest.raises(ValidationError):
        check_example(raw)


def test_a_body_makes_it_a_post_and_text_stays_text():
    assert ModelExample.read({"body": "two\nlines"}) == ModelExample("POST", "/", "two\nlines")
    assert ModelExample.read({"path": "/x"}) == ModelExample("GET", "/x")
    example = ModelExample.read({"body": "two\nlines", "answer": {"é": [1]}})
    assert (
        example is not None
        and example.body_text == "two\nlines"
        and example.answer_text == '{\n  "é": [\n    1\n  ]\n}'
    )
    assert ModelExample.read(None) is None
