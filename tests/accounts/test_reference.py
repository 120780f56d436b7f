"""Operators refer to an account by id or external id; names, which tenants can choose, are not accepted."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command

from accounts import keys, standing
from accounts.facts.publish import models_base
from accounts.imports.reading import REFUSED, Line, LineOutcome, import_lines, read_lines
from accounts.models import Account, ApiKey
from accounts.reference import MOST_NAMESAKES
from accounts.services.accounts import create_account, rename_account
from quotas.models import Plan
from tests.accounts.management.test_commands import refused, run
from tests.conftest import ACTOR


def issue(reference, *more):
    err = StringIO()
    call_command("issue_key", "--account", reference, "--name", "k", *more, stdout=StringIO(), stderr=err)
    return ApiKey.objects.select_related("account__plan").latest("pk").account, err.getvalue()


def imported(*rows: str, account: Account | None = None) -> list[LineOutcome]:
    lines = [line for line in read_lines(["account,name,key", *rows]) if isinstance(line, Line)]
    return import_lines(lines, actor=ACTOR, account=account)[0]


@pytest.fixture
def impostor(account):
    """A tenant on the plan free that took the name of a customer whom the operator is about to add."""
    rename_account(account, "bigcorp", actor=ACTOR)
    return account


def test_the_operators_next_key_and_plan_do_not_go_to_the_impostor(impostor):
    new, told = issue("bigcorp", "--plan", "pro")
    assert new.pk != impostor.pk and (new.name, new.external_id, new.plan.name) == ("bigcorp", "bigcorp", "pro")
    assert told == f"Created {new}. Other accounts with this name: {impostor.public_id}.\n"
    run("move_account", "--account", "bigcorp", "--plan", "free")
    assert Account.objects.get(pk=new.pk).plan.name == "free"
    assert issue("bigcorp", "--plan", "free")[0] == new == issue(new.public_id)[0]


def test_a_name_is_refused_with_the_ids_of_its_accounts(impostor):
    second, _ = create_account("bigcorp", impostor.plan, actor=ACTOR)
    words = (
        "No account has the id or external id 'bigcorp'. A name can't be used because it may not be unique. "
        f"Accounts with this name: {impostor.public_id}, {second.public_id}."
    )
    assert str(refused("move_account", "--account", "bigcorp", "--plan", "pro")) == words
    told = refused("issue_key", "--account", "bigcorp", "--name", "k")
    assert str(told) == f"{words} To create a new account with this external id, add --plan."
    (line,) = imported("bigcorp,k,0123456789abcdef")
    assert (line.word, line.why) == (REFUSED, words)
    assert not ApiKey.objects.exists()


def test_of_many_accounts_with_the_same_name_a_few_are_listed(account):
    for _ in range(MOST_NAMESAKES + 2):
        create_account("many", account.plan, actor=ACTOR)
    told = str(refused("move_account", "--account", "many", "--plan", "pro"))
    assert told.endswith(" and others.") and told.count(", ") == MOST_NAMESAKES - 1


@pytest.mark.parametrize("field", ["public_id", "external_id"])
def test_an_import_names_accounts_as_commands_do(account, pro_account, field):
    value = getattr(account, field)
    (line,) = imported(f"{value},k,0123456789abcdef")
    assert line.key.startswith(account.public_id)


def test_an_import_for_one_account_does_not_accept_its_name_as_a_reference(account):
    rename_account(account, "pro-acme", actor=ACTOR)
    first, second = imported("pro-acme,k,0123456789abcdef", "acme,k,0123456789abcdeF", account=account)
    assert (first.word, second.word) == (REFUSED, "imported")


def test_a_new_accounts_id_is_never_an_external_id(account, monkeypatch):
    models_base(Account).filter(pk=account.pk).update(external_id="taken000")
    ids = iter(["taken000", "free0000"])
    monkeypatch.setattr(keys, "new_account_id", lambda: next(ids))
    assert standing.new_account("x", account.plan).public_id == "free0000"


def test_a_plans_name_is_unique_because_only_operators_write_it(catalogue):
    assert Plan._meta.get_field("name").unique
