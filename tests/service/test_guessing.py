"""Guessing over 20 connections in a closed loop hardly slows down the API, which shares a process with the console."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
import requests

from accounts.services.credentials import make_management_key
from tests.conftest import ACTOR
from tests.console.signing.people import mia
from tests.gate.test_fronts import environment
from tests.servers import gunicorn
from tests.service.turns import Outcome, Turn, asker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timed]

GUESSERS = 20
ROUNDS = 5
SECONDS = 2.0  # of each turn
PACE = 0.02  # between two questions to the API
MOST = 2.0  # times the calm median


@pytest.fixture
def port(redis_db, tmp_path) -> Iterator[int]:
    env = environment() | {"AUTHSVC_SERVES": "console", "WEB_CONCURRENCY": "1", "EMAIL_URL": "console://"}
    with gunicorn("authsvc.asgi:application", tmp_path, "-c", "deploy/gunicorn.conf.py", env=env) as (port, _):
        yield port


class Round(NamedTuple):
    """What the API's customer met while nobody guessed and while somebody did, and what the guesser got."""

    calm: Outcome
    guessed: Outcome
    guesses: Outcome

    @property
    def ratio(self) -> float:
        return self.guessed.p50 / self.calm.p50


class Guess(NamedTuple):
    """What to send, and what the guesser of this number types or presents."""

    method: str
    path: str
    typed: Callable[[int], dict[str, str]] = lambda _: {}
    has_token: bool = True
    credential: str = ""

    def by(self, number: int, port: int) -> str:
        """The request, with the cookies and the token of a browser of its own."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        if self.credential:
            return "\r\n".join([*lines, f"Authorization: Bearer {self.credential}{number}", "", ""])
        browser = requests.Session()
        browser.get(f"http://127.0.0.1:{port}/login/", timeout=60).raise_for_status()
        token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"]} if self.has_token else {}
        body = urlencode({**self.typed(number), **token}) if self.method == "POST" else ""
        lines += ["Cookie: " + "; ".join(f"{name}={value}" for name, value in browser.cookies.items())]
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", body])


GUESSES = {
    "passwords of one user": Guess(
        "POST", "/login/", lambda number: {"username": "mia", "password": f"wrong {number}"}
    ),
    "passwords of many": Guess("POST", "/login/", lambda number: {"username": f"user{number}", "password": "wrong"}),
    "passwords without a token": Guess("POST", "/login/", lambda _: {"username": "mia"}, has_token=False),
    "resets": Guess("POST", "/accounts/password/reset/", lambda number: {"email": f"user{number}@example.org"}),
    "links": Guess("GET", "/invitations/x/"),
    "credentials of the API": Guess("GET", "/api/v1/keys/", credential="wrong"),
}


@pytest.mark.parametrize("guess", GUESSES.values(), ids=GUESSES.keys())
def test_the_api_s_median_at_most_doubles_while_20_connections_guess(port, account, guess: Guess):
    mia()
    credential = make_management_key(account, name="m", scopes=["keys:read"], actor=ACTOR)[1]
    guesses = Turn(port, [guess.by(number, port) for number in range(GUESSERS)], SECONDS)
    questions = Turn(
        port, [f"GET /api/v1/keys/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {credential}\r\n\r\n"], SECONDS, PACE
    )
    with asker() as guesser, asker() as customer:
        while (outcome := guesser.take(guesses)).statuses.get("429", 0) < GUESSERS:
            assert sum(outcome.statuses.values()) > 0
        rounds: list[Round] = []
        for _ in range(ROUNDS):
            calm = customer.take(questions)
            guesser.begin(guesses)
            guessed = customer.take(questions)
            rounds.append(Round(calm, guessed, guesser.end()))
            assert guessed.statuses.keys() == {"200"}
            if rounds[-1].ratio <= MOST:
                break
    assert rounds[-1].ratio <= MOST, rounds
