"""Commands: scripts can use what they print, and errors say what to do instead."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from accounts import keys
from accounts.management.commands.check_pepper import STILL_NEEDED
from accounts.models import Account, ApiKey, AuditEvent, KeySecret, OutboxRow
from accounts.peppers import peppers
from accounts.services.accounts import close_account
from accounts.services.keys import issue_key, revoke_key
from runtime.commands import PENDING
from store import names
from tests.conftest import ACTOR
from tests.gate.conftest import ask  # noqa: F401

KEY = re.compile(r"ask_[0-9A-Za-z]{16}_[0-9A-Za-z]{44}\n")


def run(*command: str) -> str:
    out = StringIO()
    call_command(*command, stdout=out)
    return out.getvalue()


def refused(*command: str) -> CommandError:
    out = StringIO()
    with pytest.raises(CommandError) as told:
        call_command(*command, stdout=out)
    told.value.add_note(out.getvalue())
    return told.value


def issue(*more: str, account: str = "acme", name: str = "k") -> str:
    return run("issue_key", "--account", account, "--name", name, *more)


def issue_refused(*more: str, account: str = "acme") -> str:
    before = ApiKey.objects.count(), Account.objects.count(), AuditEvent.objects.count()
    told = refused("issue_key", "--account", account, "--name", "k", *more)
    assert (ApiKey.objects.count(), Account.objects.count(), AuditEvent.objects.count()) == before
    return str(told)


# issue_key


@pytest.mark.django_db(transaction=True)
def test_only_the_key_is_on_stdout_and_it_is_published(account, redis_db):
    text = issue()
    assert KEY.fullmatch(text)
    public_id = text[4:20]
    assert ApiKey.objects.get().public_id == public_id
    assert redis_db.hget(names.account(public_id[:8]), names.field("v", public_id)) == "1"
    assert not OutboxRow.objects.exists()


def test_the_text_is_stored_nowhere(account):
    text = issue().strip()
    secret = text.rpartition("_")[2]
    stored = str([*KeySecret.objects.values_list(), *ApiKey.objects.values_list(), *AuditEvent.objects.values_list()])
    assert secret not in stored and secret[:16] not in stored


def test_a_missing_account_is_created_on_the_given_plan(catalogue):
    assert KEY.fullmatch(issue("--plan", "pro", account="new"))
    assert Account.objects.get(name="new").plan.name == "pro"


def test_a_missing_account_gets_the_default_plan(catalogue):
    issue(account="new")
    assert Account.objects.get(name="new").plan.name == "free"


def test_without_a_default_plan_the_option_is_required(catalogue):
    catalogue('default_plan = ""\n')
    assert issue_refused(account="new") == "Specify --plan: the catalogue has no default_plan."


def test_without_a_catalogue_the_error_says_how_to_apply_one(redis_db, transactional_db):
    assert issue_refused("--plan", "free", account="new") == (
        "There is no plan 'free'. Available plans: none; run manage.py apply_catalogue first."
    )


def test_an_existing_account_keeps_its_plan(account):
    issue()
    issue("--plan", "free")
    issue(account=" acme ")
    assert Account.objects.get().plan.name == "free"


def test_a_different_plan_is_refused_with_the_command_that_moves_the_account(account):
    told = issue_refused("--plan", "pro")
    assert told.startswith(f"The account {account} is on the plan free. To move it: manage.py move_account ")
    run(*shlex.split(told.partition("manage.py ")[2]))
    assert Account.objects.get().plan.name == "pro"
    assert KEY.fullmatch(issue("--plan", "pro"))


def test_the_suggested_command_can_be_pasted_whatever_the_reference(catalogue):
    reference = "~root|a"
    issue(account=reference)
    told = issue_refused("--plan", "pro", account=reference)
    run(*shlex.split(told.partition("manage.py ")[2]))
    assert Account.objects.get().plan.name == "pro"


def test_every_narrowing_is_saved(account):
    issue(
        "--model",
        "sm",
        "--model",
        "lg",
        "--allow-ip",
        "203.0.113.0/24",
        "--allow-ip",
        "2001:db8::1",
        "--allow-method",
        "POST",
        "--expires-in",
        "30d",
    )
    key = ApiKey.objects.get()
    assert (key.narrowed_to, key.methods) == (["sm", "lg"], ["POST"])
    assert key.networks == ["203.0.113.0/24", "2001:db8::1/128"]
    assert key.expires_at is not None
    assert abs(key.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--expires-in", "30"], "'30' is not a duration: write a whole number followed by s, m, h or d, such as 30d."),
        (["--expires-in", "0d"], "'0d' is not a duration"),
        (["--expires-in", "9999999d"], "'9999999d' is longer than 36500d."),
        (["--allow-ip", "203.0.113.7/24"], "has host bits set. Write an address or a network such as 203.0.113.0/24."),
        (["--allow-ip", "example.com"], "Write an address or a network such as 203.0.113.0/24."),
        (["--model", "smal"], "Unknown model smal; the plan free has sm."),
        (["--allow-method", "post"], "Unknown method post. Use GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS."),
        (["--name", "x" * 201], "at most 200 characters"),
        (["--name", " "], "cannot be blank"),
        (["--plan", "prow"], "There is no plan 'prow'. Available plans: free, pro."),
        (["--account", " "], "Use 1 to 200 of A-Z a-z 0-9"),
        (["--account", "x" * 201], "Use 1 to 200 of A-Z a-z 0-9"),
        (
            ["--account", "it's us"],
            "No account has the id or external id \"it's us\". It can't be the external id of a new account either",
        ),
        (["--account", "it\x1b[2J"], "Use 1 to 200 of A-Z a-z 0-9"),
        (["--name", "it\x1b[2J"], "Use one line of printable characters: U+001B is not allowed."),
    ],
)
def test_invalid_options_are_refused_and_leave_no_account(catalogue, more, words):
    assert words in issue_refused(*more, account="new")


def test_a_closed_account_gets_no_key(account):
    close_account(account, actor=ACTOR)
    assert issue_refused() == f"The account {account} is closed and can't get new keys."


@pytest.mark.django_db(transaction=True)
def test_a_key_issued_without_redis_is_printed_and_pending(account, redis_away, capsys):
    with redis_away():
        told = refused("issue_key", "--account", "acme", "--name", "k")
    assert told.returncode == PENDING == 3
    assert str(told).startswith("Pending: the key is saved")
    (printed,) = told.__notes__
    assert KEY.fullmatch(printed)
    assert OutboxRow.objects.get().subject == printed[4:20]


# revoke_key


def test_revoking_twice_is_not_an_error_and_keeps_the_first_time(issued):
    public_id = issued.key.public_id
    assert run("revoke_key", public_id) == f"done: {public_id} is revoked\n"
    moment = ApiKey.objects.get().revoked_at
    assert run("revoke_key", public_id) == f"done: {public_id} is revoked\n"
    assert ApiKey.objects.get().revoked_at == moment is not None
    assert AuditEvent.objects.filter(act="key.revoke").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_pause_and_its_end_hold_from_the_next_request_on(ask, issued, redis_db):  # noqa: F811
    public_id = issued.key.public_id
    assert ask(issued.text).status == 200
    for _ in range(2):
        assert run("pause_key", public_id) == f"done: {public_id} is paused\n"
        assert ask(issued.text).status == 401
    for _ in range(2):
        assert run("resume_key", public_id) == f"done: {public_id} is resumed\n"
        assert ask(issued.text).status == 200
    rows = AuditEvent.objects.filter(subject=public_id, act__in=["key.pause", "key.resume"]).order_by("pk")
    assert [(row.act, row.actor) for row in rows] == [
        ("key.pause", "command pause_key"),
        ("key.resume", "command resume_key"),
    ]


@pytest.mark.parametrize("command", ["pause_key", "resume_key"])
def test_a_revoked_key_is_neither_paused_nor_resumed(issued, command):
    revoke_key(issued.key, actor=ACTOR)
    assert "is revoked" in str(refused(command, issued.key.public_id))


@pytest.mark.parametrize("command", ["revoke_key", "pause_key", "resume_key"])
def test_for_an_unknown_key_the_error_explains_ids(issued, command):
    told = refused(command, issued.text)
    assert str(told) == f"There is no key {issued.text[:16]}. Pass the 16 characters after the prefix."
    assert issued.text not in str(told)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("command", ["revoke_key", "pause_key", "resume_key", "move_account", "apply_catalogue"])
def test_a_change_is_pending_without_redis_and_published_when_repeated(issued, redis_away, tmp_path, command):
    file = tmp_path / "more.toml"
    file.write_text("[models.more]\n")
    words = {
        "revoke_key": [issued.key.public_id],
        "pause_key": [issued.key.public_id],
        "resume_key": [issued.key.public_id],
        "move_account": ["--account", "acme", "--plan", "pro"],
        "apply_catalogue": [str(file)],
    }[command]
    with redis_away():
        told = refused(command, *words)
    assert (told.returncode, str(told)) == (
        3,
        "Pending: saved, but Redis or the database cannot be reached now. keep_ledger will publish it.",
    )
    assert OutboxRow.objects.exists()
    run("keep_ledger", "--once")
    assert not OutboxRow.objects.exists()
    run(command, *words)


# move_account


@pytest.mark.django_db(transaction=True)
def test_a_moved_account_is_published(account, redis_db):
    assert run("move_account", "--account", "acme", "--plan", "pro") == f"done: {account} is on pro\n"
    assert '"plan":"pro"' in redis_db.hget(names.account(account.public_id), "f")


@pytest.mark.parametrize(
    ("name", "plan", "words"),
    [
        ("none", "pro", "No account has the id or external id 'none'."),
        ("acme", "none", "There is no plan 'none'. Available plans: free, pro."),
    ],
)
def test_moving_an_unknown_account_or_to_an_unknown_plan_is_refused(account, name, plan, words):
    assert str(refused("move_account", "--account", name, "--plan", plan)) == words


@pytest.mark.parametrize("reference", ["acme", " acme ", "acme\n"])
def test_blanks_around_a_reference_do_not_count(account, reference):
    run("move_account", "--account", reference, "--plan", "pro")
    assert Account.objects.get().plan.name == "pro"


# check_pepper


def test_one_pepper_is_enough(issued):
    assert run("check_pepper") == (f"1 secrets need KEY_PEPPER ({peppers()[0].id})\nKEY_PEPPER_OLD is not needed.\n")


def test_a_key_that_still_needs_the_old_pepper_is_counted(issued, account, settings, capsys):
    settings.KEY_PEPPER_OLD, settings.KEY_PEPPER = settings.KEY_PEPPER, "another-pepper-" + "y" * 40
    issue_key(account, name="new", actor=ACTOR)
    with pytest.raises(SystemExit) as ended:
        call_command("check_pepper")
    assert ended.value.code == STILL_NEEDED
    printed = capsys.readouterr().out
    assert "1 secrets need KEY_PEPPER (" in printed and "1 secrets need KEY_PEPPER_OLD (" in printed
    assert "Keep KEY_PEPPER_OLD: 1 secrets have not been used since the change." in printed


def test_a_missing_pepper_is_reported(issued, settings, capsys):
    settings.KEY_PEPPER = "another-pepper-" + "y" * 40
    with pytest.raises(SystemExit):
        call_command("check_pepper")
    assert "1 secrets need a pepper that is not set" in capsys.readouterr().out


def test_a_revoked_key_needs_no_pepper(issued, settings):
    settings.KEY_PEPPER_OLD, settings.KEY_PEPPER = settings.KEY_PEPPER, "another-pepper-" + "y" * 40
    revoke_key(issued.key, actor=ACTOR)
    assert run("check_pepper") == "KEY_PEPPER_OLD is not needed.\n"


def test_an_issued_key_carries_the_current_pepper(account, settings):
    issue()
    assert KeySecret.objects.get().pepper == keys.Pepper.of(settings.KEY_PEPPER).id
