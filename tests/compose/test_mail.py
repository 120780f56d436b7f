"""deploy/compose/mail.yml: the console, on a network that leads out, hands an invitation to a mail server."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import replace

from tests.compose.engine import docker, inspect
from tests.servers import mail_server_at, wait_until

INVITE = """
import django, os
os.environ["DJANGO_SETTINGS_MODULE"] = "authsvc.settings"
django.setup()
from accounts.services.acts import Actor
from accounts.services.invitations import invite
from accounts.models import Account
print(invite(Account.objects.get(name="mailed"), email="new@example.org", role="member", actor=Actor("tests")).sent_at)
"""


def engine_as_containers_see_it():
    """Docker's default bridge: this machine, for a container on a network that leads out."""
    first = json.loads(docker("network", "inspect", "bridge"))[0]["IPAM"]["Config"][0]
    return first.get("Gateway") or str(next(ipaddress.ip_network(first["Subnet"]).hosts()))


def write_secret(stack, name, value):
    """As in the head of mail.yml."""
    write = f"umask 077; printf %s '{value}' >/secrets/authsvc/{name}"
    stack.compose("run", "--rm", "--no-deps", "-T", "--entrypoint", "sh", "secrets", "-c", write)


def ask_the_console(stack):
    with stack.client("console") as console:
        return console.get("/login/").status_code == 200


def test_an_invitation_goes_out_by_mail(stack):
    stack.issue_key("mailed", "free")
    with mail_server_at(engine_as_containers_see_it()) as (listening, told):
        host, port = listening.getsockname()
        more = {**stack.more, "EMAIL_FROM": "authsvc@example.org"}
        with_mail = replace(stack, files=(*stack.files, "deploy/compose/mail.yml"), more=more)
        try:
            write_secret(stack, "EMAIL_URL", f"smtp+plain://{host}:{port}")
            with_mail.compose("up", "-d", "--no-deps", "console")
            wait_until(lambda: ask_the_console(with_mail), "the console with mail", 120)
            assert with_mail.exec("console", "python", "-c", INVITE).strip() != "None"
            assert str(port) not in str(
                inspect(with_mail.container("console"))["Config"]
            )  # a password would be there too
        finally:
            stack.compose("up", "-d", "--no-deps", "console")
            wait_until(lambda: ask_the_console(stack), "the console without mail", 120)
            docker("network", "rm", f"{stack.project}_mail")  # `down` without mail.yml knows nothing of it
    assert any(line.startswith("Subject: Invitation to an account at console.localhost") for line in told), told
    assert any(line.startswith(f"http://console.localhost:{stack.port}/invitations/") for line in told), told


def test_without_it_the_console_is_on_networks_that_lead_nowhere_outside(stack):
    networks = inspect(stack.container("console"))["NetworkSettings"]["Networks"]
    assert networks and all(json.loads(docker("network", "inspect", name))[0]["Internal"] for name in networks)
