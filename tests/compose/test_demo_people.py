"""The demo's people in the compose stack: invented once, only on purpose, and able to sign in."""

from __future__ import annotations

import re

import pytest

from tests.compose.engine import NoAnswer


def test_people_of_a_demo_are_invented_on_purpose_and_can_sign_in(stack, console):
    with pytest.raises(NoAnswer, match="Confirm with --this-is-a-demo"):
        stack.compose("run", "--rm", "-T", "demo_people")
    told = stack.compose("run", "--rm", "-T", "demo_people", "--this-is-a-demo")
    lines = [line.split() for line in told.splitlines()]
    assert [line[:2] for line in lines] == [["ada", "owner"], ["vic", "viewer"]]
    for name, _, password in lines:
        console.cookies.clear()
        page = console.get("/login/").text
        (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page))
        form = {"csrfmiddlewaretoken": token, "username": name, "password": password}
        answer = console.post("/login/", data=form, headers={"Origin": f"http://{console.headers['Host']}"})
        assert answer.status_code == 302, answer.text
        overview = console.get("/console/", follow_redirects=True)
        assert overview.status_code == 200 and "Example Research" in overview.text
    with pytest.raises(NoAnswer, match="already somebody called ada and vic"):
        stack.compose("run", "--rm", "-T", "demo_people", "--this-is-a-demo")
