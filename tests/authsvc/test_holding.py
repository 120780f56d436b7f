"""A client that is told "too many" gets its answer late; others get theirs at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse

from authsvc.bodies import Console
from authsvc.holding import GAP_SECONDS, HELD_SECONDS, LONGEST_SECONDS, MOST, MOST_OF_A_NETWORK, Held
from runtime.networks import read_network

GUESSER, NEIGHBOUR = "203.0.113.7", "203.0.113.8"


class Hasty(asyncio.SelectorEventLoop):
    """An event loop that skips all waiting; its clock shows how long it would have been."""

    _now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self._now = max(self._now, self._scheduled[0]._when)  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=Hasty) as runner:
        return runner.run(work)


def scope(
    path: str = "/login/", method: str = "POST", client: str = GUESSER, forwarded_for: str = ""
) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"x-forwarded-for", forwarded_for.encode())],
        "client": (client, 1),
        "server": ("127.0.0.1", 80),
    }


async def ends(held: Held, scopes: list[dict[str, Any]]) -> list[float]:
    """When each answer is let go."""

    async def hold(one: dict[str, Any]) -> float:
        await held.hold(one)
        return asyncio.get_running_loop().time()

    return await asyncio.gather(*(hold(one) for one in scopes))


def test_one_is_held_for_a_second_and_those_of_one_network_go_one_after_another():
    assert run(ends(Held(), [scope()])) == [HELD_SECONDS]
    many = run(ends(Held(), [scope()] * 20))
    assert many == pytest.approx([HELD_SECONDS + number * GAP_SECONDS for number in range(20)])


def test_however_many_connections_guess_none_is_held_longer_than_the_longest():
    assert max(run(ends(Held(), [scope()] * 500))) == LONGEST_SECONDS


def test_neighbours_and_programs_do_not_queue_behind_a_guesser():
    others = [scope(client=NEIGHBOUR), scope("/api/v1/keys/")]
    assert run(ends(Held(), [*[scope()] * 50, *others]))[-2:] == [HELD_SECONDS] * 2


def test_behind_a_trusted_proxy_each_client_counts_for_itself(settings):
    settings.TRUSTED_PROXIES = (read_network("10.0.0.0/8"),)
    through = [scope(client="10.0.0.1", forwarded_for=client) for client in (GUESSER, NEIGHBOUR, GUESSER)]
    assert run(ends(Held(), through)) == pytest.approx([HELD_SECONDS, HELD_SECONDS, HELD_SECONDS + GAP_SECONDS])


def test_an_ipv6_customer_is_one_network():
    customer = [scope(client=f"2001:db8:1:2::{number}") for number in range(3)]
    assert run(ends(Held(), customer))[-1] == pytest.approx(HELD_SECONDS + 2 * GAP_SECONDS)


def test_no_process_holds_more_than_it_may_and_afterwards_nothing_is_left():
    held = Held()
    crowd = [scope(client=f"198.51.{number // 256}.{number % 256}") for number in range(MOST + 5)]
    assert run(ends(held, crowd)) == [HELD_SECONDS] * MOST + [0.0] * 5
    assert (held._number, held._networks) == (0, {})


def test_an_answer_that_is_given_up_leaves_nothing_behind():
    held = Held()

    async def leave() -> None:
        tasks = [asyncio.create_task(held.hold(scope())) for _ in range(3)]
        await asyncio.wait(tasks, timeout=HELD_SECONDS / 2)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(leave())
    assert (held._number, held._networks) == (0, {})


# In front of Django


class Answering(Console):
    """Answers with `status`, and notes which paths it was asked for."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status, self.asked = status, list[str]()

    async def get_response_async(self, request: HttpRequest) -> HttpResponse:
        self.asked.append(request.path)
        return HttpResponse(b"no", status=self.status)


async def sent_by(console: Console, of: dict[str, Any]) -> list[tuple[Mapping[str, Any], float]]:
    """The messages of an answer, each with when it was sent."""
    sent: list[tuple[Mapping[str, Any], float]] = []
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        message = next(messages, None)
        if message is None:
            await asyncio.Event().wait()
        return message or {}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append((message, asyncio.get_running_loop().time()))

    await console(of, receive, send)
    return sent


async def answered(console: Console, of: dict[str, Any]) -> tuple[int, float]:
    """The status, and when it was sent."""
    ((status, when),) = [
        (message["status"], when) for message, when in await sent_by(console, of) if "status" in message
    ]
    return status, when


@pytest.mark.parametrize("status", [200, 302, 401, 403, 503])
def test_other_answers_are_sent_at_once(status):
    _, when = run(answered(Answering(status), scope()))
    assert when < HELD_SECONDS


def test_too_many_is_answered_late_and_by_then_the_request_is_over():
    console = Answering(429)
    status, when = run(answered(console, scope()))
    assert status == 429 and when >= HELD_SECONDS
    assert console.asked == ["/login/"]


def test_every_part_of_a_held_answer_waits_and_they_keep_their_order():
    sent = run(sent_by(Answering(429), scope()))
    assert [message["type"] for message, _ in sent] == ["http.response.start", "http.response.body"]
    assert min(when for _, when in sent) >= HELD_SECONDS


def without_a_thread(function: Callable[..., Any], **_: Any) -> Callable[..., Any]:
    """In place of `sync_to_async`: the hasty loop does not wait for threads either."""

    async def call(*given: Any) -> Any:
        return function(*given)

    return call


def test_an_upload_that_is_one_too_many_is_answered_late_too(monkeypatch):
    monkeypatch.setattr("authsvc.bodies.sync_to_async", without_a_thread)
    monkeypatch.setattr("authsvc.bodies._refusal_before", lambda _: HttpResponse(status=429))
    upload = scope("/api/v1/imports/")
    upload["headers"].append((b"transfer-encoding", b"chunked"))
    console = Answering(200)
    status, when = run(answered(console, upload))
    assert status == 429 and when >= HELD_SECONDS and console.asked == []


def in_a_flood(console: Answering, of: dict[str, Any]) -> tuple[int, float]:
    """The answer while the guesser's network has as many on hold as it may have, and when it was sent."""

    async def work() -> tuple[int, float]:
        flood = [asyncio.create_task(console._held.hold(scope())) for _ in range(MOST_OF_A_NETWORK)]
        await asyncio.wait(flood, timeout=HELD_SECONDS / 2)
        answer = await answered(console, of)
        await asyncio.gather(*flood)
        return answer

    status, when = run(work())
    return int(status), float(when)


@pytest.mark.parametrize(
    "path",
    [
        "/login/",
        "/admin/login/",
        "/accounts/password/reset/",
        "/accounts/second-factor/authenticate/",
        "/first-operator/",
        "/invitations/x/",
    ],
)
def test_a_flood_of_guesses_no_longer_reaches_django_and_each_waits_its_turn(path):
    console = Answering(200)
    status, when = in_a_flood(console, scope(path))
    assert (status, console.asked) == (429, []) and when > LONGEST_SECONDS


@pytest.mark.parametrize(
    "of",
    [scope(client=NEIGHBOUR), scope(method="GET"), scope("/console/keys/"), scope("/api/v1/keys/")],
    ids=["a neighbour", "a page", "a form of somebody signed in", "a program"],
)
def test_others_reach_it_all_the_same(of):
    console = Answering(200)
    assert (in_a_flood(console, of)[0], console.asked) == (200, [of["path"]])
