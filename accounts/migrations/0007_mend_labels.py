"""Rows of before get what names no longer are: a way to be found. User names are folded, the accounts that `issue_key` made
keep the name that operators know them by as their external id, and erased accounts give theirs up."""

import re

from django.db import migrations
from django.db.models import F

from accounts.models import EXTERNAL_ID, caseless, erased_name


def fold_usernames(apps, schema_editor):
    """Of two that differ in case alone the older one is found in any case, the other one by its own."""
    users = apps.get_model("accounts", "User")._base_manager
    taken = set(users.exclude(folded_username=None).values_list("folded_username", flat=True))
    for user in users.filter(folded_username=None).order_by("pk").iterator():
        folded = caseless(user.username)
        if folded not in taken:
            taken.add(folded)
            users.filter(pk=user.pk).update(folded_username=folded)


def mark_erased_accounts(apps, schema_editor):
    accounts = apps.get_model("accounts", "Account")._base_manager
    for account in accounts.filter(name__startswith="closed ").exclude(closed_at=None).iterator():
        if account.name == erased_name(account.public_id):
            accounts.filter(pk=account.pk).update(
                erased_at=F("closed_at"), former_external_id=F("external_id"), external_id=None
            )


def adopt_names_of_commands(apps, schema_editor):
    """Only where the account still has the name that the operator gave it: its people may have written another."""
    accounts = apps.get_model("accounts", "Account")._base_manager
    made = apps.get_model("accounts", "AuditEvent").objects.filter(act="account.create", actor="command issue_key")
    for event in made.order_by("pk").iterator():
        name = (event.after or {}).get("name", "")
        if not re.match(EXTERNAL_ID, name) or accounts.filter(external_id=name) or accounts.filter(public_id=name):
            continue
        accounts.filter(public_id=event.account, name=name, external_id=None, closed_at=None).update(external_id=name)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0006_labels")]
    why_the_version_before_works = (
        "It reads external ids as it always did, and knows nothing of the other two columns. Accounts that it erases and "
        "users that it makes meanwhile are recognised without them."
    )

    operations = [
        migrations.RunPython(fold_usernames, migrations.RunPython.noop),
        migrations.RunPython(mark_erased_accounts, migrations.RunPython.noop),
        migrations.RunPython(adopt_names_of_commands, migrations.RunPython.noop),
    ]
