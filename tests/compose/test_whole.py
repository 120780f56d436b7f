"""What operators and clients get after `docker compose up --build`, from 127.0.0.1."""

from __future__ import annotations

import re
import time

import pytest

from accounts import keys as key_strings
from tests.compose.engine import PAGE, basic, docker
from tests.servers import wait_until
from tests.stack.sdks import SDKS

ADA = {"text": "Ada Lovelace met Charles Babbage in London."}
MARIE = {"text": "Marie Curie travaillait à Paris. Elle y est restée."}


def is_problem(answer, status):
    body = answer.json()
    return (
        answer.status_code == body["status"] == status
        and answer.headers["Content-Type"] == "application/problem+json"
        and answer.headers["Cache-Control"] == "no-store"
        and {"type", "title", "detail"} <= body.keys()
    )


# The site


def test_the_site_has_a_start_page(site):
    answer = site.get("/")
    assert answer.status_code == 200
    assert "<h1>Example Corporation</h1>" in answer.text


@pytest.mark.parametrize(
    ("path", "method", "status", "words"),
    [
        ("/nowhere", "GET", 404, "Page not found"),
        ("/", "DELETE", 405, "Method not allowed"),
        ("/" + "x" * 9000, "GET", 414, "Address too long"),
    ],
)
def test_the_site_shows_its_own_page_for_an_error(site, path, method, status, words):
    answer = site.request(method, path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert f"<h1>{words}</h1>" in answer.text
    assert f">{status}<" in answer.text


# The models


def test_a_model_answers_a_key(api, free):
    answer = api.post("/en_core_web_sm/ner", headers=free, json=ADA)
    assert answer.status_code == 200
    assert [entity["text"] for entity in answer.json()["entities"]] == ["Ada Lovelace", "Charles Babbage", "London"]
    assert '"minute"' in answer.headers["RateLimit"]


def test_the_other_model_streams(api, pro):
    with api.stream("POST", "/fr_core_news_md/sentences/stream", headers=pro, json=MARIE) as answer:
        assert answer.status_code == 200
        assert "Content-Length" not in answer.headers
        events = re.findall(r"event: (\w+)", "".join(answer.iter_text()))
    assert events == ["sentence", "sentence", "end"]


def test_a_model_never_sees_the_key(api, stack, pro):
    """Neither a model's log nor its answers contain a key."""
    key = pro["Authorization"].split()[1]
    answer = api.post("/en_core_web_sm/ner", headers=pro, json=ADA)
    assert key not in answer.text + str(answer.headers) + stack.logs("en_core_web_sm")


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/en_core_web_sm2/ner", "/en_core_web_sm-secret", "/auth/", "/auth/?model=en_core_web_sm"]
)
def test_an_address_without_a_model_is_a_problem_and_asks_for_no_key(api, path):
    assert is_problem(api.get(path, headers={"X-Forwarded-Uri": "/en_core_web_sm/"}), 404)


# What the gate refuses


@pytest.fixture(scope="module")
def keys(stack):
    """A key for each reason to be refused."""
    refused, revoked, expired, elsewhere, reader = stack.issue_keys(
        ("refused", "free"),
        ("frees", "free"),
        ("frees", "free", "--expires-in", "1s"),
        ("frees", "free", "--allow-ip", "192.0.2.0/24"),
        ("frees", "free", "--allow-method", "GET"),
    )
    stack.manage("revoke_key", revoked.split("_")[1])
    stranger = key_strings.Pepper.of("a pepper of another installation, long enough")
    unknown = key_strings.new_key(key_strings.new_key_id(key_strings.new_account_id()), "ask", stranger).text
    return {
        "free": refused,
        "revoked": revoked,
        "expired": expired,
        "unknown": unknown,
        "junk": "ask_junk",
        "elsewhere": elsewhere,
        "reader": reader,
    }


@pytest.mark.parametrize(
    ("key", "path", "status", "word"),
    [
        (None, "/en_core_web_sm/ner", 401, "no_key"),
        ("junk", "/en_core_web_sm/ner", 401, "invalid_token"),
        ("unknown", "/en_core_web_sm/ner", 401, "invalid_token"),
        ("revoked", "/en_core_web_sm/ner", 401, "invalid_token"),
        ("expired", "/en_core_web_sm/ner", 401, "invalid_token"),
        ("free", "/fr_core_news_md/ner", 403, "insufficient_scope"),
        ("free", "/en_core_web_sm/a%0Ab", 403, "unclean_path"),
        ("elsewhere", "/en_core_web_sm/ner", 403, "address_not_allowed"),
        ("reader", "/en_core_web_sm/ner", 403, "method_not_allowed"),
    ],
)
def test_a_refusal_comes_as_the_gate_wrote_it(api, keys, key, path, status, word):
    headers = {"Authorization": f"Bearer {keys[key]}"} if key else {}
    if key == "expired":
        time.sleep(1)
    answer = api.post(path, headers=headers, json=ADA)
    assert is_problem(answer, status)
    assert answer.json()["type"].endswith(f"/errors/{word}")
    assert ("WWW-Authenticate" in answer.headers) == (status == 401 or word == "insufficient_scope")


def test_over_a_limit_the_client_is_told_when_to_retry(api, stack):
    key = {"Authorization": f"Bearer {stack.issue_key('hasty', 'free')}"}
    answers = [api.get("/en_core_web_sm/health", headers=key) for _ in range(14)]
    assert answers[0].status_code == 200
    assert is_problem(answers[-1], 429)
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert answers[-1].json()["type"].endswith("/errors/quota_exceeded")


def test_the_page_behind_the_type_of_a_problem_is_there(api, console):
    kind = api.get("/en_core_web_sm/").json()["type"]
    assert kind.startswith(f"http://{console.headers['Host']}/")
    assert console.get(kind.partition(console.headers["Host"])[2]).status_code == 200


# Bodies, browsers


def test_an_upload_beyond_the_limit_is_a_problem(api, pro):
    answer = api.post("/en_core_web_sm/ner", headers=pro, content=b" " * (2 * 1024**2 + 1))
    assert is_problem(answer, 413)


def test_an_upload_within_the_limit_reaches_the_model(api, pro):
    answer = api.post("/en_core_web_sm/ner", headers=pro, json=ADA | {"more": "x" * 1_000_000})
    assert answer.status_code == 200


def test_a_streaming_model_refuses_a_large_body_itself(api, pro):
    answer = api.post("/fr_core_news_md/ner", headers=pro, json={"text": "x" * 1_300_000})
    assert answer.status_code == 413
    assert "1201024 bytes" in answer.json()["detail"]


def preflight(api, origin, *headers):
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": ",".join(headers or ("authorization",)),
    }
    return api.options("/en_core_web_sm/ner", headers=asked)


@pytest.mark.parametrize("sdk", SDKS)
def test_a_page_may_send_what_an_sdk_sends(api, sdk):
    answer = preflight(api, PAGE, *SDKS[sdk])
    allowed = {name.strip().lower() for name in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert answer.status_code == 200
    assert set(SDKS[sdk]) <= allowed


def test_a_page_that_may_call_the_models_gets_its_preflight_without_a_key(api):
    answer = preflight(api, PAGE)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]


def test_such_a_page_can_read_a_refusal_too(api):
    answer = api.post("/en_core_web_sm/ner", headers={"Origin": PAGE}, json=ADA)
    assert answer.status_code == 401
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


def test_another_page_may_not(api):
    assert "Access-Control-Allow-Origin" not in preflight(api, "https://elsewhere.example").headers


# Operators


def test_the_dashboard_requires_its_password(stack):
    with stack.client("dashboard") as dashboard:
        assert dashboard.get("/api/overview").status_code == 401
        assert dashboard.get("/api/overview", headers=basic("operator", "operator")).status_code == 401
        password = basic("operator", stack.secret("operator/DASHBOARD_PASSWORD"))
        assert dashboard.get("/api/overview", headers=password).status_code == 200
        assert dashboard.get("/dashboard/", headers=password).status_code == 200


def test_no_part_of_the_configuration_has_an_error(stack):
    with stack.client("dashboard") as dashboard:
        password = basic("operator", stack.secret("operator/DASHBOARD_PASSWORD"))
        for kind in ("routers", "services", "middlewares"):
            for one in dashboard.get(f"/api/http/{kind}?per_page=500", headers=password).json():
                assert one["status"] == "enabled", one


def first_operators_link(stack):
    return re.findall(r"http://\S+(/first-operator/\S+)", stack.logs("setup"))[-1]


def send(console, path, **fields):
    """A form with its token."""
    page = console.get(path)
    assert page.status_code == 200, page.text
    (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text))
    return console.post(path, data={"csrfmiddlewaretoken": token, **fields}, headers={"Referer": str(console.base_url)})


def test_the_link_in_the_log_makes_the_first_operator_once_and_is_in_no_access_log(stack, console):
    link = first_operators_link(stack)
    password = "correct horse battery staple"
    entered = console.get(link)
    assert entered.status_code == 302
    made = send(
        console,
        entered.headers["Location"],
        username="olga",
        email="olga@example.org",
        password1=password,
        password2=password,
    )
    assert (made.status_code, made.headers["Location"]) == (302, "/admin/")
    assert console.get("/admin/").status_code == 200
    assert link.strip("/").split("/")[-1] not in stack.logs("traefik")
    with stack.client("console") as another:
        assert another.get(link).status_code == 404
        assert another.get("/admin/").status_code == 302
        signed_in = send(another, "/login/?next=/admin/", username="olga", password=password)
        assert (signed_in.status_code, signed_in.headers["Location"]) == (302, "/admin/")
        assert another.get("/admin/").status_code == 200


SECRETS = ("an-invitation-that-nobody-has", "a-signature:of-an-address", "3-set-a-password")
LINKS = (
    "/invitations/an-invitation-that-nobody-has/",
    "/invitations/an-invitation-that-nobody-has",
    "/invitations/an-invitation-that-nobody-has/?token=an-invitation-that-nobody-has",
    "/login/?next=/invitations/an-invitation-that-nobody-has/",
    "/accounts/confirm-email/a-signature:of-an-address/",
    "/accounts/password/reset/key/3-set-a-password/",
    "/invitations//an-invitation-that-nobody-has/",
    "/invit%61tions/an-invitation-that-nobody-has/",
)


def follow_links(stack, console):
    for link in LINKS:
        for method in ("GET", "POST"):
            referer = {"Referer": f"{console.base_url}{link}", "Origin": "null"}
            console.request(method, link, headers=referer)
    console.get("/login/?mark=of-this-test")
    wait_until(lambda: "/login/" in stack.logs("traefik"), "a line in the access log")


def test_a_link_with_a_secret_is_in_no_log(stack, console):
    """Traefik's access log, up to the last page requested, and the logs of gunicorn and Django."""
    follow_links(stack, console)
    log = stack.compose("logs", "--no-color")
    assert not [secret for secret in SECRETS if secret in log]


def test_nor_while_the_console_is_down(stack, console):
    stack.compose("stop", "console")
    try:
        wait_until(lambda: console.get("/login/").status_code == 503, "the console's end", 30)
        assert console.get(LINKS[0]).status_code == 503
        follow_links(stack, console)
        log = stack.compose("logs", "--no-color", "traefik")
    finally:
        stack.compose("start", "console")
    wait_until(lambda: console.get("/login/").status_code == 200, "the console", 90)
    assert not [secret for secret in SECRETS if secret in log]


def test_the_access_log_records_requests_without_secrets(stack, api, pro):
    key = pro["Authorization"].split()[1]
    api.get(f"/en_core_web_sm/health?token={key}", headers=pro | {"X-Api-Key": key})
    wait_until(lambda: "/en_core_web_sm/health" in stack.logs("traefik"), "the line in the access log")
    log = stack.logs("traefik")
    assert '"RouterName":"en_core_web_sm@docker"' in log
    assert key not in log
    assert "token=" not in log
    assert "Authorization" not in log


def test_no_log_of_any_service_has_a_secret(stack, pro):
    secrets = [
        stack.secret(path)
        for path in (
            "authsvc/SECRET_KEY",
            "authsvc/KEY_PEPPER",
            "postgres/POSTGRES_PASSWORD",
            "redis/REDIS_PASSWORD",
            "operator/DASHBOARD_PASSWORD",
        )
    ]
    log = stack.compose("logs", "--no-color")
    assert len(set(secrets)) == 5
    for secret in [*secrets, pro["Authorization"].split()[1]]:
        assert secret not in log


# When something is down. Each test restores what it stopped.


def test_a_killed_model_is_a_502_that_says_so_and_comes_back(stack, api, pro):
    docker("kill", stack.container("en_core_web_sm"))
    try:
        answers = []

        def says_502():
            answers.append(api.get("/en_core_web_sm/health", headers=pro))
            return answers[-1].status_code == 502

        wait_until(says_502, "the 502", 30)
        assert is_problem(answers[-1], 502)
        assert {answer.status_code for answer in answers} <= {200, 502, 504}
        assert is_problem(api.get("/en_core_web_sm/health"), 401)  # the gate comes first, as always
    finally:
        stack.compose("up", "-d", "--no-deps", "en_core_web_sm")
    wait_until(lambda: api.get("/en_core_web_sm/health", headers=pro).status_code == 200, "the model", 90)


def test_without_redis_the_gate_refuses_and_the_console_goes_on(stack, api, console, pro):
    redis = stack.container("redis")
    docker("pause", redis)
    try:
        answers = [api.get("/en_core_web_sm/health", headers=pro) for _ in range(20)]
        assert all(is_problem(answer, 503) and "Retry-After" in answer.headers for answer in answers)
        assert console.get("/login/").status_code == 200
    finally:
        docker("unpause", redis)
    wait_until(lambda: api.get("/en_core_web_sm/health", headers=pro).status_code == 200, "the gate", 60)


def test_without_any_gate_no_model_can_be_reached_and_the_client_is_told(stack, api, pro):
    stack.compose("stop", "gate")
    try:
        wait_until(lambda: api.get("/en_core_web_sm/health", headers=pro).status_code != 200, "the end of the gate", 60)
        for _ in range(5):
            answer = api.get("/en_core_web_sm/health", headers=pro)
            assert is_problem(answer, 503)
            assert "Retry-After" in answer.headers
    finally:
        stack.compose("start", "gate")
    wait_until(lambda: api.get("/en_core_web_sm/health", headers=pro).status_code == 200, "the gate", 90)


def test_while_the_site_is_down_its_error_page_is_shown(stack, site):
    stack.compose("stop", "corporate")
    try:
        wait_until(lambda: site.get("/").status_code == 503, "the page for 503", 30)
        assert "<h1>Temporarily unavailable</h1>" in site.get("/").text
    finally:
        stack.compose("start", "corporate")
    wait_until(lambda: site.get("/").status_code == 200, "the site", 60)


def test_a_second_start_keeps_every_secret_and_every_key(stack, api, pro):
    before = stack.secret("authsvc/KEY_PEPPER")
    stack.compose("up", "-d", "--scale", "gate=2")
    assert stack.secret("authsvc/KEY_PEPPER") == before
    wait_until(lambda: api.get("/en_core_web_sm/health", headers=pro).status_code == 200, "the same key", 90)
