"""One validation of names for all ways in, and escaping on the ways out."""

from __future__ import annotations

from io import StringIO

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.models import CharField, TextField

from accounts.facts.publish import models_base
from accounts.models import Account, ApiKey, AuditEvent, User
from accounts.services.accounts import close_account, move_account
from accounts.services.credentials import make_management_key, make_operator_token
from accounts.services.keys import change_key, issue_key, rotate_key
from api.base.sheets import as_cell
from quotas.catalogue.file import BadCatalogue
from quotas.models import Plan
from runtime.commands import OperatorCommand
from tests.accounts.management.test_commands import refused, run
from tests.conftest import ACTOR

BAD = "a\x1b]0;owned\x07b"
# Written only by us, or copied from a different field that is validated.
NO_LABELS = {
    "AuditEvent": {"actor", "address", "act", "account", "subject"},
    "KeptAnswer": {"caller", "key", "fingerprint", "account", "subject", "pepper", "nonce", "digest"},
    "ImportJob": {"public_id", "actor", "address", "state", "made_with"},
    "ImportLine": {"outcome", "key", "why"},
    "Notification": {"kind", "account", "subject", "outcome"},
    "SwitchedOffTopic": {"topic"},
    "SignInPlace": {"network", "browser"},
    "OutboxRow": {"part", "subject"},
    "SeenStore": {"identity"},
    "Invitation": {"public_id", "role", "invited_by", "made_with"},
    "Membership": {"public_id", "role"},
    "Account": {"public_id", "former_external_id"},
    "ApiKey": {"public_id", "made_with"},
    "KeySecret": {"digest", "pepper", "minted_pepper"},
    "ManagementKey": {"public_id", "digest", "pepper", "start", "made_with"},
    "OperatorToken": {"public_id", "digest", "pepper", "start", "made_with"},
    "Deployment": {"identity"},
    "User": {"password", "folded_username", "language", "last_language"},
    "UsageHour": {"account", "key"},
    "UsageDay": {"account", "key"},
    "RefusalHour": {"account", "key", "model", "reason", "by_limit"},
    "RefusalDay": {"account", "key", "model", "reason", "by_limit"},
    "UsageMonth": {"account", "key", "model"},
    "AccountDay": {"account", "model"},
    "RefusalMonth": {"account", "key", "model", "reason", "by_limit"},
}


def test_every_field_that_people_write_is_checked():
    unchecked = {}
    for model in (model for app in ("accounts", "quotas") for model in apps.get_app_config(app).get_models()):
        fields = [field for field in model._meta.get_fields() if isinstance(field, CharField | TextField)]
        ours = [field.name for field in fields if field.name not in NO_LABELS.get(model.__name__, set())]
        found = [name for name in ours if not _refuses(model._meta.get_field(name))]
        if found:
            unchecked[model.__name__] = found
    assert unchecked == {"AccountOverride": ["limit_name"], "UsageHour": ["model"], "UsageDay": ["model"]}  # from plans


def _refuses(field):
    try:
        field.run_validators(BAD)
    except ValidationError:
        return True
    return bool(field.choices)


def test_no_key_credential_or_user_can_have_such_a_name(account, issued):
    for make in (
        lambda: issue_key(account, name=BAD, actor=ACTOR),
        lambda: change_key(issued.key, name=BAD, actor=ACTOR),
        lambda: make_management_key(account, name=BAD, scopes=["keys:read"], actor=ACTOR),
        lambda: make_operator_token(name=BAD, scopes=["keys:write"], actor=ACTOR),
    ):
        with pytest.raises(ValidationError, match="one line of printable characters"):
            make()
    told = refused("createsuperuser", "--noinput", "--username", "olga\u3164", "--email", "o@example.org")
    assert "U+3164" in str(told) and not User.objects.exists()


def test_a_title_in_the_catalogue_is_one_line(catalogue):
    with pytest.raises(BadCatalogue, match=r"title = .*: Use one line of printable characters: U\+001B is not allowed"):
        catalogue('[models.sm]\ntitle = "a\\u001b[2Jb"\n')
    with pytest.raises(BadCatalogue, match="title has 201 characters"):
        catalogue(f'[plans.free]\ntitle = "{"x" * 201}"\n')


def test_an_old_invalid_name_does_not_block_other_changes(account, issued):
    models_base(Account).update(name=BAD)
    models_base(ApiKey).update(name=BAD)
    account.refresh_from_db()
    key = ApiKey.objects.get()
    change_key(key, methods=["GET"], actor=ACTOR)
    rotate_key(key, grace=key.created_at - key.created_at, actor=ACTOR)
    move_account(account, Plan.objects.get(name="pro"), actor=ACTOR)
    close_account(account, actor=ACTOR)
    assert Account.objects.get().state == "closed"


def test_a_command_escapes_an_old_invalid_name(account):
    models_base(Account).update(name=BAD)
    printed = run("move_account", "--account", "acme", "--plan", "pro")
    assert printed == f"done: a\\x1b]0;owned\\x07b ({account.public_id}) is on pro\n"


def test_a_commands_error_is_escaped(capsys):
    class Failing(OperatorCommand):
        requires_system_checks: list[str] = []

        def handle(self, *args, **options):
            raise CommandError(BAD)

    with pytest.raises(SystemExit):
        Failing().run_from_argv(["manage.py", "failing"])
    assert capsys.readouterr().err == "CommandError: a\\x1b]0;owned\\x07b\n"


def test_our_own_colours_are_not_escaped():
    class Terminal(StringIO):
        def isatty(self):
            return True

    class Failing(OperatorCommand):
        requires_system_checks: list[str] = []

        def handle(self, *args, **options):
            self.stdout.write(BAD, self.style.ERROR)

    out = Terminal()
    call_command(Failing(force_color=True), stdout=out)
    assert out.getvalue() == "\x1b[31;1ma\\x1b]0;owned\\x07b\n\x1b[0m"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\n=1", "＝1", "＋1", "－1", "＠x"])
def test_no_cell_of_a_report_is_a_formula(text):
    assert as_cell(text) == f"'{text}"


def test_the_audit_log_identifies_the_account(account):
    (event,) = AuditEvent.objects.filter(act="account.create")
    assert (
        event.after is not None
        and event.after["external_id"] == "acme"
        and str(account) == f"acme ({account.public_id})"
    )
