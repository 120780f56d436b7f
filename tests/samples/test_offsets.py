"""`?offsets=`: the unit of `start` and `end`, in every endpoint that has them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples.spacy_model.offsets import Unit, position_in
from tests.samples.test_spacy_model import M, client, is_problem  # noqa: F401

TEXT = "😀 Zoë Müller met Charles Babbage in London 🇬🇧. They spoke to Ada Lovelace for hours 𝄞. Bye."
ENDPOINTS = ("ner", "tokens", "sentences", "sentences/stream")


def spans(answer):
    """Every part of the text that an answer refers to."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        data = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
        found = [one for one in data if "start" in one]
    else:
        (found,) = answer.json().values()
    return [span for one in found for span in (one, *one.get("entities", ()))]


def cut(unit, start, end):
    """What a client does with the two numbers: JavaScript's text.slice(), or a slice of bytes."""
    if unit == "codepoints":
        return TEXT[start:end]
    coding, size = {"utf16": ("utf-16-le", 2), "utf8": ("utf-8", 1)}[unit]
    return TEXT.encode(coding)[start * size : end * size].decode(coding)


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_offsets_cut_the_same_part_out_of_the_text_as_the_client_counts(client, endpoint, unit):  # noqa: F811
    answer = client.post(f"{M}/{endpoint}?offsets={unit}", json={"text": TEXT})
    found = spans(answer)
    assert answer.status_code == 200 and len(found) >= 3
    for span in found:
        assert cut(unit, span["start"], span["end"]) == span["text"]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_without_the_parameter_they_are_code_points(client, endpoint):  # noqa: F811
    plain, named = (client.post(f"{M}/{endpoint}{query}", json={"text": TEXT}) for query in ("", "?offsets=codepoints"))
    assert spans(plain) == spans(named)
    assert [span["start"] for span in spans(plain)] != [
        span["start"] for span in spans(client.post(f"{M}/{endpoint}?offsets=utf16", json={"text": TEXT}))
    ]


@pytest.mark.parametrize("query", ["offsets=utf-16", "offsets=UTF16", "offsets=", "offsets=utf8&offsets=utf16"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_unknown_unit_is_refused_with_the_known_ones(client, endpoint, query):  # noqa: F811
    answer = client.post(f"{M}/{endpoint}?{query}", json={"text": TEXT})
    assert is_problem(answer, 400)
    assert answer.json()["detail"] == '"offsets" must be one of codepoints, utf16, utf8, and given only once.'


def test_the_schema_and_the_start_page_list_the_units(client):  # noqa: F811
    schema = client.get(f"{M}/openapi.json").json()["paths"]
    for endpoint in ENDPOINTS:
        (parameter,) = schema[f"{M}/{endpoint}"]["post"]["parameters"]
        assert (parameter["name"], parameter["schema"]["enum"]) == ("offsets", list(Unit))
        assert "JavaScript" in parameter["description"]
    assert client.get(f"{M}/").json()["offsets"] == list(Unit)


@given(st.text(st.characters(codec="utf-8")))
def test_every_position_is_the_length_of_what_stands_before_it(text):
    utf16, utf8 = (position_in(text, unit) for unit in (Unit.UTF16, Unit.UTF8))
    for index in range(len(text) + 1):
        assert utf16(index) == len(text[:index].encode("utf-16-le")) // 2
        assert utf8(index) == len(text[:index].encode())
