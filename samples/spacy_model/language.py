"""What the model can say about a text, as plain values ready for JSON."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from spacy.pipeline import Sentencizer

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Span

Answer = dict[str, Any]


class UnknownPackage(Exception):
    """The package that should hold the model is not installed, or holds none."""


def load(package: str) -> Language:
    """The model that an installed package ships; packages may be named unlike their model."""
    try:
        nlp: Language = importlib.import_module(package).load()
    except (ImportError, AttributeError) as error:
        raise UnknownPackage(f"MODEL_PACKAGE={package!r} is not an installed spaCy model: {error}") from error
    return nlp


def about(nlp: Language) -> Answer:
    """What the model says of itself."""
    meta = nlp.meta
    return {
        "lang": nlp.lang,
        "version": meta["version"],
        "pipeline": nlp.pipe_names,
        "description": meta.get("description", ""),
        "license": meta.get("license", ""),
    }


def entities(nlp: Language, text: str) -> Answer:
    return {"entities": [_entity(span, 0) for span in nlp(text).ents]}


def tokens(nlp: Language, text: str) -> Answer:
    return {
        "tokens": [
            {
                "text": token.text,
                "start": token.idx,
                "end": token.idx + len(token.text),
                "lemma": token.lemma_,
                "pos": token.pos_,
                "tag": token.tag_,
                "dep": token.dep_,
                "head": token.head.i,
            }
            for token in nlp(text)
        ]
    }


def sentences(nlp: Language, text: str) -> Iterator[Answer]:
    """Each sentence with its entities, analysed when it is asked for.

    Punctuation cuts the text first, which is cheap, because the whole pipeline would read all of a text before it
    gave the first sentence of it.
    """
    for piece in _cut(nlp, text):
        for sentence in nlp(piece.text).sents:
            if sentence.text.strip():
                yield _sentence(sentence, piece.start_char)


def _cut(nlp: Language, text: str) -> Iterator[Span]:
    doc: Doc = Sentencizer()(nlp.make_doc(text))
    return iter(doc.sents)


def _sentence(span: Span, offset: int) -> Answer:
    return {
        "text": span.text,
        "start": offset + span.start_char,
        "end": offset + span.end_char,
        "entities": [_entity(entity, offset) for entity in span.ents],
    }


def _entity(span: Span, offset: int) -> Answer:
    return {
        "text": span.text,
        "label": span.label_,
        "start": offset + span.start_char,
        "end": offset + span.end_char,
    }
