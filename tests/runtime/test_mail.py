"""EMAIL_URL, and a real conversation with a mail server."""

from __future__ import annotations

import socket
import ssl
import time
from smtplib import SMTPNotSupportedError, SMTPRecipientsRefused, SMTPServerDisconnected

import pytest
from django.core import mail

from accounts.services.invitations import invite
from runtime.env import BadSetting
from runtime.mail import MailServer, server_at
from tests.api.callers import program_of
from tests.conftest import ACTOR
from tests.servers import mail_server_at

SMTP = "django.core.mail.backends.smtp.EmailBackend"


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "ssl", "user", "password"),
    [
        ("smtp://mail.example.org", "mail.example.org", 587, True, False, "", ""),
        ("smtp://u%40x:p%3Aw@mail.example.org:2525", "mail.example.org", 2525, True, False, "u@x", "p:w"),
        ("smtps://u:p@mail.example.org", "mail.example.org", 465, False, True, "u", "p"),
        ("smtp+plain://[::1]", "::1", 25, False, False, "", ""),
    ],
)
def test_an_address_is_read(url, host, port, tls, ssl, user, password):
    assert server_at(url) == MailServer(SMTP, host, port, user, password, starts_tls=tls, is_tls=ssl)
    assert "p:w" not in repr(server_at(url))


def test_the_console_and_no_server_are_accepted_too():
    assert server_at("console://").backend.endswith("console.EmailBackend")
    assert server_at("").backend == "runtime.mail.NoMail"


@pytest.mark.parametrize("url", ["mail.example.org", "http://x", "smtp://", "smtp://x:port", "smtp://[x"])
def test_any_other_text_stops_the_start_and_names_the_variable(url):
    with pytest.raises(BadSetting, match="EMAIL_URL"):
        server_at(url)


def test_without_a_server_sending_fails_visibly(settings):
    settings.EMAIL_BACKEND = "runtime.mail.NoMail"
    with pytest.raises(OSError, match="EMAIL_URL is not set"):
        mail.send_mail("s", "t", "a@example.org", ["b@example.org"])


@pytest.mark.parametrize(
    "error",
    [
        UnicodeEncodeError("ascii", "ü", 0, 1, "ordinal not in range(128)"),
        ValueError("Header values can't contain newlines"),
        SMTPNotSupportedError("SMTPUTF8"),
        SMTPServerDisconnected(),
        SMTPRecipientsRefused({}),
        ssl.SSLError(1, "handshake"),
        ssl.SSLCertVerificationError(1, "expired"),
        socket.gaierror(-2, "unknown"),
        TimeoutError(),
        KeyError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_invitation_whose_mail_failed_says_so_and_can_be_asked_for_again(account, monkeypatch, mailoutbox, error):
    program = program_of(account, "members:write")
    where, wanted = f"/api/v1/accounts/{account.public_id}/invitations/", {"email": "new@example.org", "role": "member"}

    def fail(message):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(mail.EmailMessage, "send", fail)
        first = program.post(where, wanted, content_type="application/json")
        again = program.post(f"{where}{first.json()['id']}/resend/")
    assert (first.status_code, first.json()["sent_at"]) == (201, None)
    assert (again.status_code, again.json()["sent_at"]) == (200, None)
    second = program.post(where, wanted, content_type="application/json")
    assert second.status_code == 201 and second.json()["sent_at"]
    assert len(mailoutbox) == 1
    assert program.post(where, wanted, content_type="application/json").status_code == 409  # it exists by now
    open_ones = [row for row in program.get(where).json()["results"] if row["withdrawn_at"] is None]
    assert [row["id"] for row in open_ones] == [second.json()["id"]]


def send_to(settings, listening: socket.socket) -> None:
    server = server_at(f"smtp+plain://127.0.0.1:{listening.getsockname()[1]}")
    settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = server.backend, server.host, server.port


@pytest.fixture
def mail_server(settings):
    """A mail server that accepts one mail, and what it received."""
    with mail_server_at("127.0.0.1") as (listening, told):
        send_to(settings, listening)
        yield told


def test_an_invitation_goes_out_by_smtp(mail_server, account):
    row = invite(account, email="new@example.org", role="member", actor=ACTOR)
    assert row.sent_at is not None
    assert "RCPT TO:<new@example.org>" in [
        line.upper().replace("NEW@EXAMPLE.ORG", "new@example.org") for line in mail_server
    ]
    assert any("/invitations/" in line for line in mail_server)
    assert "Subject: Invitation to an account at 127.0.0.1:8081" in mail_server  # ours only, without a tenant's name


def test_a_silent_server_is_given_up(settings, account):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        send_to(settings, silent)
        settings.EMAIL_TIMEOUT = 0.2
        began = time.monotonic()
        assert invite(account, email="new@example.org", role="member", actor=ACTOR).sent_at is None
        assert time.monotonic() - began < 30
