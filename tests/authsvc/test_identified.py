"""One id for a request: in the answer, in each log line about it, and on the page for an internal error."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest
from django.conf import settings as configured
from django.http import HttpResponse
from django.test import Client

from authsvc.identified import Identified
from runtime.request_ids import WithRequestId, serving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}

LOGGING: dict[str, Any] = dict(configured.LOGGING)

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(operator):
    """The operator's browser, in which an exception is a 500."""
    operator.raise_request_exception = False
    return operator


@pytest.fixture
def broken(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("deep")

    monkeypatch.setattr("django.contrib.admin.sites.AdminSite.each_context", fail)


@pytest.mark.parametrize("path", ["/login/", "/api/v1/me/", "/no/such/page"])
def test_every_answer_of_the_console_has_an_id_of_its_own(path):
    first, second = (Client().get(path)["X-Request-Id"] for _ in range(2))
    assert re.fullmatch("[0-9a-f]{32}", first) and first != second


def test_a_trace_determines_the_id_and_nonsense_does_not():
    assert Client().get("/login/", headers=PARENT)["X-Request-Id"] == TRACE
    nonsense = Client().get("/login/", headers={"traceparent": "00-évil\r\n-01", "X-Request-Id": "mine"})
    assert re.fullmatch("[0-9a-f]{32}", nonsense["X-Request-Id"])


def test_the_page_for_an_internal_error_shows_the_id(browser, broken):
    answer = browser.get("/admin/", headers=PARENT)
    assert (answer.status_code, answer["X-Request-Id"], answer["Cache-Control"]) == (500, TRACE, "no-store")
    assert f"<code>{TRACE}</code>" in answer.content.decode()


def test_the_page_does_not_depend_on_what_failed(browser, broken, monkeypatch):
    monkeypatch.setattr("authsvc.refusals.brand", lambda request: 1 / 0)
    answer = browser.get("/admin/", headers=PARENT)
    assert answer.status_code == 500 and TRACE in answer.content.decode()


def test_an_internal_error_of_the_api_outside_of_its_views_is_a_problem_with_the_id(browser, monkeypatch):
    monkeypatch.setattr("django.contrib.sessions.middleware.SessionMiddleware.process_request", lambda *_: 1 / 0)
    answer = browser.get("/api/v1/me/", headers=PARENT)
    assert answer.status_code == 500
    assert TRACE in json.loads(answer.content)["detail"]


def test_each_line_of_the_log_about_a_request_has_its_id():
    handler = logging.Handler()
    handler.addFilter(WithRequestId())
    lines: list[str] = []
    handler.setFormatter(logging.Formatter(LOGGING["formatters"]["plain"]["format"]))
    handler.emit = lambda record: lines.append(handler.format(record))  # type: ignore[method-assign]
    log = logging.getLogger("tests.identified")
    log.addHandler(handler)
    try:

        def view(request):
            log.warning("inside")
            return HttpResponse()

        Identified(view)(type("Request", (), {"META": {"HTTP_TRACEPARENT": PARENT["traceparent"]}})())
        log.warning("outside")
    finally:
        log.removeHandler(handler)
    assert lines[0].endswith(f"tests.identified [{TRACE}] inside")
    assert lines[1].endswith("tests.identified outside")
    assert serving.get() == ""


def test_the_log_of_the_service_has_the_filter():
    assert "with_request_id" in LOGGING["handlers"]["console"]["filters"]
