"""Every refusal of this service is an RFC 9457 problem, the framework's own included."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException


class Problem(HTTPException):
    """The request cannot be served; `detail` is the sentence shown to the client."""


def problem(status: int, detail: str, headers: dict[str, str]) -> JSONResponse:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def answer_problems(app: FastAPI) -> None:
    """Also covers the framework's 404 and 405, and internal errors, which reveal no details."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, error.detail, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return problem(500, "The model failed on this request.", {})
