"""The model's analysis of a text, as plain values ready for JSON."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from spacy.pipeline import Lemmatizer, Sentencizer

from .offsets import Position

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Span

Answer = dict[str, Any]

MOST_LEMMAS = 10_000  # that a model caches; checked once per text


class UnknownPackage(Exception):
    """The package is not installed or contains no model."""


def load(package: str) -> Language:
    """The model in an installed package, whose name may differ from the model's."""
    try:
        nlp: Language = importlib.import_module(package).load()
    except (ImportError, AttributeError) as error:
        raise UnknownPackage(f"MODEL_PACKAGE={package!r} is not an installed spaCy model: {error}") from error
    return nlp


def about(nlp: Language) -> Answer:
    """The model's own metadata."""
    meta = nlp.meta
    return {
        "lang": nlp.lang,
        "version": meta["version"],
        "pipeline": nlp.pipe_names,
        "description": meta.get("description", ""),
        "license": meta.get("license", ""),
    }


def entities(nlp: Language, text: str, position: Position = int) -> Answer:
    with _forgetting(nlp):
        return {"entities": [_entity(span, 0, position) for span in nlp(text).ents]}


def tokens(nlp: Language, text: str, position: Position = int) -> Answer:
    with _forgetting(nlp):
        return {
            "tokens": [
                {
                    "text": token.text,
                    "start": position(token.idx),
                    "end": position(token.idx + len(token.text)),
                    "lemma": token.lemma_,
                    "pos": token.pos_,
                    "tag": token.tag_,
                    "dep": token.dep_,
                    "head": token.head.i,
                }
                for token in nlp(text)
            ]
        }


def sentences(nlp: Language, text: str, position: Position = int) -> Iterator[Answer]:
    """Each sentence with its entities, analysed on demand.

    Punctuation cuts the text first, which is cheap, because the whole pipeline would read all of a text before it
    gave the first sentence of it.
    """
    for piece, start in _cut(nlp, text):
        yield from _sentences_of(nlp, piece, start, position)


def _cut(nlp: Language, text: str) -> list[tuple[str, int]]:
    """Pieces of the text, each with its start."""
    with _forgetting(nlp):
        doc: Doc = Sentencizer()(nlp.make_doc(text))
        return [(piece.text, piece.start_char) for piece in doc.sents]


def _sentences_of(nlp: Language, piece: str, start: int, position: Position) -> list[Answer]:
    """A list, because a caller may pause between sentences while others use the model."""
    with _forgetting(nlp):
        return [_sentence(sentence, start, position) for sentence in nlp(piece).sents if sentence.text.strip()]


@contextmanager
def _forgetting(nlp: Language) -> Iterator[None]:
    """Free whatever the text adds to the model's vocabulary at the end.

    spaCy keeps every word it has ever seen: strangers' texts would fill the memory. Nothing of spaCy's may leave the
    block, only plain values; and there is one block at a time for a model, which the Desk sees to.
    """
    try:
        with nlp.memory_zone():
            yield
    finally:
        _forget_lemmas(nlp)


def _forget_lemmas(nlp: Language) -> None:
    """Lemmatizers have their own cache, which spaCy's memory zones do not free."""
    for _, pipe in nlp.pipeline:
        if isinstance(pipe, Lemmatizer) and len(pipe.cache) > MOST_LEMMAS:
            pipe.cache.clear()


def _sentence(span: Span, offset: int, position: Position) -> Answer:
    return {
        "text": span.text,
        "start": position(offset + span.start_char),
        "end": position(offset + span.end_char),
        "entities": [_entity(entity, offset, position) for entity in span.ents],
    }


def _entity(span: Span, offset: int, position: Position) -> Answer:
    return {
        "text": span.text,
        "label": span.label_,
        "start": position(offset + span.start_char),
        "end": position(offset + span.end_char),
    }
