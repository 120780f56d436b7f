"""The service: one model below its own path, under the name that Traefik routes and the gate knows."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import StreamingResponse
from starlette.types import ASGIApp

from . import language
from .body import SCHEMA, text_of
from .desk import Desk
from .language import Answer
from .offsets import PARAMETER, Unit, position_in, unit_of
from .passed_on import PassedOn
from .problems import answer_problems

Text = Annotated[str, Depends(text_of)]
Offsets = Annotated[Unit, Depends(unit_of)]

ASKED = {**SCHEMA, "parameters": [PARAMETER]}


def from_environment() -> ASGIApp:
    """The service for the model in MODEL and MODEL_PACKAGE: `uvicorn --factory …:from_environment`."""
    model = os.environ.get("MODEL", "")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._~-]*", model):
        raise SystemExit(f"MODEL={model!r} cannot be used in a path: set it to a name such as en_core_web_sm.")
    try:
        return create_app(model, os.environ.get("MODEL_PACKAGE") or model)
    except language.UnknownPackage as error:
        raise SystemExit(str(error)) from error


def create_app(model: str, package: str) -> ASGIApp:
    """Load the model before the first request, so that a service that answers is ready."""
    app = FastAPI(
        title=f"spaCy: {model}",
        openapi_url=f"/{model}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would expose this service's internal address
    )
    app.include_router(_routes(model, package), prefix=f"/{model}")
    answer_problems(app)
    return PassedOn(app)  # outside the framework, which answers errors outside of all middleware


def _routes(model: str, package: str) -> APIRouter:
    router, nlp, desk = APIRouter(), language.load(package), Desk()
    endpoints = ["POST ner", "POST tokens", "POST sentences", "POST sentences/stream", "GET health", "GET openapi.json"]

    @router.api_route("", methods=["GET", "HEAD"], include_in_schema=False)
    @router.head("/", include_in_schema=False)  # apart from GET: two methods on one route would share an operation ID
    @router.get("/")
    async def about() -> Answer:
        return {"name": model, **language.about(nlp), "endpoints": endpoints, "offsets": list(Unit)}

    @router.head("/health", include_in_schema=False)
    @router.get("/health")
    async def health() -> Answer:
        return {"status": "ok"}

    @router.post("/ner", openapi_extra=ASKED)
    async def ner(offsets: Offsets, text: Text) -> Answer:
        return await desk.work(lambda: language.entities(nlp, text, position_in(text, offsets)))

    @router.post("/tokens", openapi_extra=ASKED)
    async def tokens(offsets: Offsets, text: Text) -> Answer:
        return await desk.work(lambda: language.tokens(nlp, text, position_in(text, offsets)))

    @router.post("/sentences", openapi_extra=ASKED)
    async def sentences(offsets: Offsets, text: Text) -> Answer:
        found = await desk.work(lambda: list(language.sentences(nlp, text, position_in(text, offsets))))
        return {"sentences": found}

    @router.post("/sentences/stream", openapi_extra=ASKED, response_class=StreamingResponse)
    async def stream(offsets: Offsets, text: Text) -> StreamingResponse:
        position = await desk.work(lambda: position_in(text, offsets))
        events = _events(desk.one_by_one(language.sentences(nlp, text, position)))
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return router


async def _events(sentences: AsyncIterator[Answer]) -> AsyncIterator[str]:
    """Server-sent events: one per sentence, and a final one, which shows that the text was not cut off."""
    number = 0
    async for sentence in sentences:
        yield _event("sentence", number, sentence)
        number += 1
    yield _event("end", number, {"sentences": number})


def _event(kind: str, number: int, data: Answer) -> str:
    return f"event: {kind}\nid: {number}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
