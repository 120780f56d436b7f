"""`make demo` as a person sees it, without make."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import requests

from deploy.demo.ports import free_ports, is_free
from tests.stack import wire

PATIENCE = 300  # a busy machine takes its time
KEYS = ("FREE_KEY", "PRO_KEY", "REVOKED_KEY", "EXPIRED_KEY")


class Demo:
    """The command, its folder and its port."""

    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        self._output = folder.with_name(f"{folder.name}, port {port}.out")
        environment = {"DEMO_DIR": str(folder), "DEMO_PORT": str(port), "SECRET_KEY": "x", "DATABASE_URL": "no"}
        command = [sys.executable, "-m", "deploy.demo.run"]
        with self._output.open("w") as out:
            self.process = subprocess.Popen(command, env=os.environ | environment, stdout=out, stderr=out)

    def said(self):
        return self._output.read_text(encoding="utf-8")

    def wait_until_ready(self):
        deadline = time.monotonic() + PATIENCE
        while not (self.folder / "ready").exists():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.process.wait(30)

    def keys(self):
        return dict(line.split("=") for line in (self.folder / "keys.env").read_text().splitlines())

    def status(self, path, key):
        return wire.ask(self.port, path, f"Authorization: Bearer {self.keys()[key]}").status

    def close(self):
        if self.process.poll() is None:
            self.stop(signal.SIGTERM)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    port = next(port for port in free_ports(20) if is_free(port + 1))
    demo = Demo(tmp_path_factory.mktemp("demo") / "a folder", port)
    try:
        demo.wait_until_ready()
        yield demo
    finally:
        demo.close()


def a_try(folder, port):
    """A start that should fail."""
    attempt = Demo(folder, port)
    try:
        return attempt.process.wait(PATIENCE), attempt.said()
    finally:
        attempt.close()


def test_the_keys_are_what_their_names_say(demo):
    english, french = "/en_core_web_sm/health", "/fr_core_news_md/health"
    answers = {name: (demo.status(english, name), demo.status(french, name)) for name in KEYS}
    assert answers == {
        "FREE_KEY": (200, 403),
        "PRO_KEY": (200, 200),
        "REVOKED_KEY": (401, 401),
        "EXPIRED_KEY": (401, 401),
    }


def test_only_their_owner_can_read_the_secrets(demo):
    private = ("keys.env", "people.txt", "secret_key", "key_pepper", "store_password", "redis_url", "manage")
    assert {name: (demo.folder / name).stat().st_mode & 0o077 for name in private} == dict.fromkeys(private, 0)
    assert demo.folder.stat().st_mode & 0o077 == 0


def test_three_commands_to_try_are_printed_and_work(demo):
    commands = demo.said().replace("\\\n", " ").split("\n")
    calls = [line.strip() for line in commands if line.strip().startswith("curl")]
    assert len(calls) == 3
    outputs = [subprocess.check_output(["sh", "-c", call], text=True, timeout=30) for call in calls]
    assert [output.split(" ")[1] for output in outputs[:2]] == ["200", "403"]
    for output, expected in zip(outputs, ("Ada Lovelace", "insufficient_scope", "event: end"), strict=True):
        assert expected in output


def test_the_console_answers_on_the_next_port(demo):
    with urllib.request.urlopen(f"http://127.0.0.1:{demo.port + 1}/admin/login/", timeout=10) as page:
        assert page.status == 200


def test_the_link_that_is_printed_leads_to_the_form_for_the_first_operator(demo):
    (link,) = re.findall(rf"^  (http://127\.0\.0\.1:{demo.port + 1}/first-operator/\S+)$", demo.said(), re.M)
    with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(link, timeout=10) as page:
        assert 'name="password1"' in page.read().decode()


def test_the_people_that_are_printed_sign_in_and_see_usage(demo):
    console = f"http://127.0.0.1:{demo.port + 1}"
    people = re.findall(r"^  (\w+) (owner|viewer) (\S{16})$", demo.said(), re.M)
    assert [(name, role) for name, role, _ in people] == [("ada", "owner"), ("vic", "viewer")]
    for name, _, password in people:
        with requests.Session() as browser:
            browser.get(f"{console}/login/", timeout=10)
            form = {"username": name, "password": password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
            page = browser.post(f"{console}/login/", form, headers={"Referer": f"{console}/login/"}, timeout=30)
        assert page.status_code == 200 and "/console/" in page.url
        assert "Example Research" in page.text and "en_core_web_sm" in page.text  # the legend of its chart


def test_what_is_printed_tells_how_each_kind_of_person_gets_in(demo):
    console, said = f"http://127.0.0.1:{demo.port + 1}", demo.said()
    assert f"Customers sign in at {console}/login/." in said
    assert f"New customers sign up at {console}/accounts/signup/" in said
    assert f"operators read all of it at {console}/mailbox/" in said
    assert f"Operators sign in at {console}/admin/." in said
    (again,) = re.findall(r"`(.+ set_up)` prints a new link", said)
    assert "/first-operator/" in subprocess.check_output(["sh", "-c", again], text=True, timeout=120)
    for page, words in (("/accounts/signup/", 'name="password1"'), ("/login/", "/accounts/signup/")):
        with urllib.request.urlopen(f"{console}{page}", timeout=10) as answer:
            assert words in answer.read().decode()


def test_manage_knows_where_everything_is(demo):
    manage = [str(demo.folder / "manage"), "issue_key", "--account", "demo-pro", "--plan", "pro", "--name", "another"]
    key = subprocess.run(manage, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    assert wire.ask(demo.port, "/fr_core_news_md/health", f"X-Api-Key: {key}").status == 200


def test_a_second_demo_in_the_same_folder_or_on_the_same_port_says_so(demo, tmp_path):
    status, said = a_try(demo.folder, demo.port + 10)
    assert (status, said.count("\n")) == (1, 2)
    assert "already running" in said
    for port in (demo.port, demo.port + 1, demo.port - 1):
        status, said = a_try(tmp_path / str(port), port)
        assert (status, said.count("\n")) == (1, 2)
        assert "is in use" in said


@pytest.mark.parametrize("port", ["x", "0", "65535", "-1"])
def test_an_invalid_port_is_reported(tmp_path, port):
    status, said = a_try(tmp_path / "demo", port)
    assert status == 1
    assert f"DEMO_PORT={port} is not a port" in said


def test_a_process_that_dies_is_named_with_the_end_of_its_log_and_a_restart_keeps_the_keys(tmp_path):
    port = next(port for port in free_ports(20) if is_free(port + 1))
    first = Demo(tmp_path / "demo", port)
    try:
        first.wait_until_ready()
        keys, children = first.keys(), _children(first.process.pid)
        traefik = next(pid for pid, command in children.items() if "traefik" in command)
        os.kill(traefik, signal.SIGKILL)
        assert first.process.wait(30) == 1
        assert "traefik stopped (signal 9); the end of its log" in first.said()
        assert [pid for pid in children if _is_running(pid)] == []
    finally:
        first.close()
    again = Demo(tmp_path / "demo", port)
    try:
        again.wait_until_ready()
        assert again.keys() == keys
        children = _children(again.process.pid)
        assert again.stop(signal.SIGINT) == 0
        assert [pid for pid in children if _is_running(pid)] == []
        assert not (again.folder / "ready").exists()
        assert is_free(port)
    finally:
        again.close()


def _children(parent):
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return {int(pid): command for pid, ppid, command in rows if int(ppid) == parent}


def _is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's table of sockets")
def test_every_public_port_is_on_the_loopback_interface_only(demo):
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A"]
    for port in (demo.port, demo.port + 1):
        assert [local for local in listening if local.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]
