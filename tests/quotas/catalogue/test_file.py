"""The catalogue file: all faults are reported at once, with lines and remedies; a consistent file is applied."""

from __future__ import annotations

import re
from io import StringIO
from textwrap import dedent

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from accounts.models import AuditEvent
from quotas import rules
from quotas.catalogue.file import BadCatalogue, read_catalogue_file
from quotas.limits import Limit
from quotas.models import Catalogue, Plan, PlanLimit, ServedModel
from store import names
from tests.conftest import CATALOGUE
from tests.servers import ROOT

GOOD = '[models.sm]\n[plans.free]\nmodels = ["sm"]\n'


@pytest.fixture
def file(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "file.toml"
        path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        return path

    return write


@pytest.fixture
def faults(file):
    """The faults in a text, each as (line, words)."""

    def read(text: str | bytes) -> list[tuple[int, str]]:
        path = file(text)
        with pytest.raises(BadCatalogue) as told:
            read_catalogue_file(path)
        return [_split(fault, path) for fault in told.value.faults]

    return read


@pytest.fixture
def apply(catalogue, file):
    """Run the command and return its output."""

    def run(text: str, **options) -> str:
        out = StringIO()
        call_command("apply_catalogue", file(text), stdout=out, **options)
        return out.getvalue()

    return run


@pytest.fixture
def refused(apply):
    """The faults for which the command refuses a file, with lines. Checks that nothing has changed."""

    def run(text: str) -> list[str]:
        before = _everything()
        with pytest.raises(CommandError) as told:
            apply(text)
        assert _everything() == before
        first, *faults = str(told.value).splitlines()
        assert first == "Nothing was changed:"
        return [re.sub(r"^.*file\.toml:(\d+): ", r"\1 ", fault) for fault in faults]

    return run


def _split(fault: str, path) -> tuple[int, str]:
    assert fault.startswith(f"{path}:")
    line, _, words = fault.removeprefix(f"{path}:").partition(": ")
    return int(line), words


def _everything():
    return [
        list(rows.values_list(*fields))
        for rows, *fields in (
            (ServedModel.objects, "slug", "path", "title", "cost", "enabled"),
            (Plan.objects.order_by("name", "served_models"), "name", "title", "all_models", "served_models"),
            (PlanLimit.objects.order_by("pk"), "pk", "name", "amount", "burst", "window", "counted_since"),
            (Catalogue.objects, "version", "default_plan"),
            (AuditEvent.objects, "pk"),
        )
    ]


def limit(**fields) -> str:
    """A file with one limit on line 5."""
    whole = {"name": '"a"', "per": '"key"', "amount": "5", "window": '"minute"', **fields}
    inside = ", ".join(f"{name} = {value}" for name, value in whole.items() if value is not None)
    return f"{GOOD}limits = [\n  {{ {inside} }},\n]\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        # fields
        ("modles = 1\n" + GOOD, 1, "the catalogue has no field 'modles'; did you mean 'models'?"),
        ("[models.sm]\ncots = 2\n", 2, "[models.sm] the model sm has no field 'cots'; did you mean 'cost'?"),
        ("[models.sm]\nxyz = 2\n", 2, "the model sm has no field 'xyz'; known: title, cost, path, enabled"),
        (GOOD + 'modles = ["sm"]\n', 4, "the plan free has no field 'modles'; did you mean 'models'?"),
        (limit(brust="3"), 5, "the limit a has no field 'brust'; did you mean 'burst'?"),
        # missing fields
        (limit(name=None), 4, 'has no name; write name = "minute"'),
        (limit(per=None), 5, 'the limit a has no per; write per = "key" or "account"'),
        (limit(amount=None), 5, "the limit a has no amount; write amount = 60"),
        (limit(window=None), 5, 'the limit a has no window; write window = "minute"'),
        # names
        ('[models."a b"]\n', 1, "'a b' is not a valid name: use up to 63 of A-Z a-z 0-9 . _ -"),
        ('[plans."ü"]\n', 1, "'ü' is not a valid name"),
        (limit(name='"a b"'), 5, "'a b' is not a valid name"),
        (limit(name="7"), 5, "a limit's name = 7 is not text in quotes"),
        (f"[models.{'x' * 64}]\n", 1, "is not a valid name: use up to 63"),
        # other names
        ('[models.small]\n[plans.p]\nmodels = ["smal"]\n', 3, "there is no model 'smal'; did you mean 'small'?"),
        ('[models.sm]\n[plans.p]\nmodels = ["zz"]\n', 3, "there is no model 'zz'; known: sm"),
        (limit(model='"smm"'), 5, "the limit a: there is no model 'smm'; did you mean 'sm'?"),
        (limit(model='["sm"]'), 5, "the limit a: there is no model ['sm']"),
        ('default_plan = "fee"\n' + GOOD, 1, "default_plan = 'fee' is not a plan in this file; did you mean 'free'?"),
        ('default_plan = ["free"]\n' + GOOD, 1, "default_plan = ['free'] is not a plan in this file"),
        # types
        ("models = 3\n", 1, "write [models.NAME] and its fields below"),
        ("[models]\nsm = 3\n", 1, "write [models.NAME] and its fields below"),
        ("[models.sm]\ncost = 1.5\n", 2, "cost = 1.5 is not a whole number"),
        ("[models.sm]\ncost = true\n", 2, "cost = True is not a whole number"),
        ("[models.sm]\ntitle = 1\n", 2, "title = 1 is not text in quotes"),
        ('[models.sm]\nenabled = "no"\n', 2, "enabled = 'no' is not true or false"),
        ('[models.sm]\n[plans.p]\nmodels = "sm"\n', 3, 'models is a list of names, or ["*"] for all'),
        ("[plans.p]\nlimits = 3\n", 2, "limits is a list of { name, per, amount, window }"),
        (limit(shadow='"yes"'), 5, "the limit a: shadow is true or false"),
        (limit(window='["minute"]'), 5, "window = ['minute']; write one of: second, minute, hour, day, month"),
        (limit(per='"user"'), 5, "the limit a: per = 'user'; write one of: account, key"),
        (limit(window='"week"'), 5, "window = 'week'; write one of: second, minute, hour, day, month"),
        (limit(unit='"tokens"'), 5, "unit = 'tokens'; write one of: requests, units"),
        # ranges
        ("[models.sm]\ncost = 0\n", 2, "cost = 0 is not between 1 and 1000000"),
        ("[models.sm]\ncost = 1000001\n", 2, "cost = 1000001 is not between 1 and 1000000"),
        (limit(amount="0"), 5, "amount = 0 is not a whole number between 1 and 1000000000"),
        (limit(amount="1.0"), 5, "amount = 1.0 is not a whole number"),
        (limit(amount="true"), 5, "amount = True is not a whole number"),
        (limit(amount="1000000001"), 5, "amount = 1000000001 is not a whole number between 1 and 1000000000"),
        (limit(window='"day"', amount="1000000000001"), 5, "is not a whole number between 1 and 1000000000000"),
        (limit(burst="0"), 5, "burst = 0 is not a whole number between 1 and 1000000000"),
        (limit(burst="1000000001"), 5, "burst = 1000000001 is not a whole number between 1 and 1000000000"),
        # contradictions
        (limit(window='"day"', burst="3"), 5, "the limit a: a day limit is a quota and has no burst; leave it out"),
        (limit(window='"month"', burst="3"), 5, "the limit a: a month limit is a quota and has no burst; leave it out"),
        ('[models.sm]\n[plans.p]\nmodels = ["*", "sm"]\n', 3, '"*" already means every model: write models = ["*"]'),
        (
            '[models.sm]\npath = "sm"\n',
            2,
            "path = 'sm' is not a clean path prefix; write one such as '/sm' or '/v1/sm'",
        ),
        ('[models.sm]\npath = "/a/../b"\n', 2, "is not a clean path prefix"),
        ('[models.sm]\npath = "/a/"\n', 2, "is not a clean path prefix"),
        ('[models.sm]\npath = "/a\\n"\n', 2, "is not a clean path prefix"),
        ('[models.a]\n[models.b]\npath = "/a/b"\n', 3, "the path /a/b begins with /a, the path of a"),
        ('[models.a]\n[models.b]\npath = "/a"\n', 3, "the path /a begins with /a, the path of a"),
        # TOML
        ("[models.sm\n", 1, "this is not valid TOML"),
        (GOOD + "limits = [\n", 4, "this is not valid TOML"),
        ("[models.sm]\n[models.sm]\n", 2, "this is not valid TOML"),
        ("", 1, "the file is empty: write at least one [models.NAME]"),
        ("# nothing yet\n", 1, "the file is empty: write at least one [models.NAME]"),
    ],
)
def test_every_fault_is_reported_with_its_line_and_a_remedy(faults, text, line, words):
    (told,) = faults(text)
    assert told[0] == line
    assert words in told[1]


LARGEST = [
    "[models.sm]\ncost = 1000000\n",
    f"[models.sm]\ntitle = '{'t' * 200}'\n",
    f"[models.{'x' * 63}]\n",
    "[models.sm]\npath = '/a/b/c/d/e/f/g/h'\n",
    "[plans.p]\nmax_keys = 1000000\n",
    limit(amount="1000000000"),
    limit(burst="1000000000"),
    limit(window='"day"', amount="1000000000000"),
    limit(window='"month"', amount="1000000000000"),
]


@pytest.mark.parametrize("text", LARGEST)
def test_the_largest_values_are_accepted(file, text):
    assert read_catalogue_file(file(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"[models.sm]\ntitle = '{'t' * 201}'\n", "title has 201 characters; the maximum is 200"),
        ("[models.sm]\npath = '/a/b/c/d/e/f/g/h/i'\n", "is not a clean path prefix"),
        ("[plans.p]\nmax_keys = 1000001\n", "is not a whole number between 1 and 1000000"),
    ],
)
def test_one_more_is_too_much(faults, text, words):
    ((line, told),) = faults(text)
    assert line == 2 and words in told


def test_all_faults_are_reported_at_once(faults):
    assert [line for line, _ in faults("[models.a]\ncost = 0\n[models.b]\ncots = 1\n[plans.p]\nmodels = ['c']\n")] == [
        2,
        4,
        6,
    ]


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("[models]\n\n[models.other]\n\n[models.sm]\ncost = 0\n", 6),
        ('[models."sm"]\ncost = 0\n', 2),
        ("[models]\nother = {}\nsm = { cost = 0 }\n", 3),
        ("[models]\nother.cost = 1\nsm.cost = 0\n", 3),
        ("# cost = 7\n[models.sm] # cost\ncost = 0\n", 3),
    ],
)
def test_the_line_is_found_however_the_table_is_written(faults, header, line):
    assert faults(header)[0][0] == line


def test_a_limit_in_a_table_of_its_own_has_its_line(faults):
    text = GOOD + '[[plans.free.limits]]\nname = "a"\nper = "key"\namount = 0\nwindow = "day"\n'
    assert faults(text)[0][0] == 5


@pytest.mark.parametrize("unit", ["requests", "units"])
def test_two_limits_with_one_counter_are_refused(faults, unit):
    one = f'per = "key", amount = 5, window = "day", unit = "{unit}"'
    ((line, words),) = faults(GOOD + f'limits = [\n{{ name = "a", {one} }},\n{{ name = "b", {one} }},\n]')
    assert line == 6
    assert "the limits a and b have the same counter" in words and "keep the smaller one" in words


def test_two_limits_with_one_name_are_refused(faults):
    rows = ", ".join(f'{{ name = "a", per = "key", amount = 5, window = "{window}" }}' for window in ("day", "hour"))
    assert "two limits are named a" in faults(GOOD + f"limits = [{rows}]")[0][1]


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ('amount = 60, burst = 4, window = "minute"', "raise its burst or lower the cost"),
        ('amount = 4, window = "minute"', "raise its burst or lower the cost"),
        ('amount = 4, window = "day"', "raise its amount or lower the cost"),
    ],
)
def test_a_cost_that_never_fits_is_refused(faults, fields, what):
    text = f'[models.sm]\ncost = 5\n[plans.p]\nmodels = ["*"]\nlimits = [{{ name = "a", per = "key", unit = "units", {fields} }}]'
    ((line, words),) = faults(text)
    assert line == 5
    assert words.endswith(f"a call to sm costs 5 and never fits into the limit a with room for 4: {what}")


@pytest.mark.parametrize("unit_and_model", ['unit = "requests"', 'unit = "units", model = "lg"'])
def test_a_cost_matters_only_to_limits_in_units(file, unit_and_model):
    row = f'{{ name = "a", per = "key", amount = 4, window = "day", {unit_and_model} }}'
    text = f'[models.sm]\ncost = 5\n[models.lg]\n[plans.p]\nmodels = ["*"]\nlimits = [{row}]'
    assert read_catalogue_file(file(text)).plans["p"].limits[0].amount == 4


def test_a_file_that_is_not_utf8_is_refused(file):
    with pytest.raises(BadCatalogue, match="not UTF-8 text: save it as UTF-8"):
        read_catalogue_file(file(b'[models.sm]\ntitle = "\xe9"\n'))


def test_a_byte_order_mark_is_accepted(file):
    assert list(read_catalogue_file(file(b"\xef\xbb\xbf[models.sm]\r\ncost = 2\r\n")).models) == ["sm"]


def test_every_path_below_another_is_reported():
    found = {
        (one, other) for one, other, _ in rules.conflicting_paths({"r": "/r", "a": "/r/a", "b": "/r/b", "s": "/r-s"})
    }
    assert found == {("r", "a"), ("r", "b")}


def test_a_name_with_the_same_beginning_is_no_conflict():
    assert not list(rules.conflicting_paths({"a": "/sm", "b": "/sm2", "c": "/sm-x", "d": "/v1/sm"}))


# The command


def test_a_file_that_cannot_be_read_is_one_sentence(apply, tmp_path):
    for path, why in ((tmp_path / "none.toml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(CommandError, match=why):
            call_command("apply_catalogue", path)


def test_applying_twice_changes_nothing(apply):
    before = _everything()
    assert apply(CATALOGUE) == "Nothing to change.\n"
    assert _everything() == before


def test_a_dry_run_prints_what_would_change_and_changes_nothing(apply):
    before = _everything()
    text = CATALOGUE.replace("amount = 60", "amount = 70") + "\n[models.new]\n"
    printed = apply(text, dry_run=True)
    assert printed == "model new: new\nplan free: limit minute amount 60 → 70\n2 would change.\n"
    assert _everything() == before
    assert apply(text) == printed.replace("would change", "changed")


def test_a_dry_run_finds_what_contradicts_the_database(apply):
    with pytest.raises(CommandError, match="the path of model lg"):
        apply('[models.x]\npath = "/v1"\n', dry_run=True)


def test_everything_about_a_model_and_a_plan_can_change(apply):
    printed = apply("""
        default_plan = "pro"
        [models.sm]
        title = "tiny"
        cost = 2
        path = "/tiny"
        enabled = false
        [plans.pro]
        title = "Pro"
        models = ["sm"]
    """)
    assert "model sm: path '/sm' → '/tiny', title 'small' → 'tiny', cost 1 → 2, enabled True → False" in printed
    assert "plan pro: named models, title 'Pro'" in printed
    assert "plan pro: models none → sm" in printed
    assert "plan pro: limit second removed" in printed
    assert "default plan: pro" in printed
    assert printed.endswith("5 changed.\n")


def test_models_and_plans_missing_from_the_file_stay(apply):
    apply('default_plan = "new"\n[models.extra]\n[plans.new]\n')
    assert set(ServedModel.objects.values_list("slug", flat=True)) == {"sm", "lg", "extra"}
    assert set(Plan.objects.values_list("name", flat=True)) == {"free", "pro", "new"}
    assert Plan.objects.get(name="free").limits.count() == 2


@pytest.mark.parametrize(("text", "left"), [("[models.sm]\n", "free"), ('default_plan = ""\n[models.sm]\n', None)])
def test_the_default_plan_goes_only_when_the_file_says_so(apply, text, left):
    apply(text)
    default = Catalogue.objects.get().default_plan
    assert (default and default.name) == left


@pytest.mark.django_db(transaction=True)
def test_a_change_raises_the_version_once_and_is_audited(apply, redis_db):
    before = Catalogue.objects.get().version
    apply(CATALOGUE.replace("amount = 60", "amount = 70"))
    assert Catalogue.objects.get().version == before + 1
    assert redis_db.hget(names.CATALOGUE, names.VERSION) == str(before + 1)
    event = AuditEvent.objects.first()
    assert event is not None
    assert (event.actor, event.act) == ("command apply_catalogue", "catalogue.change")
    assert event.after == {"changed": ["plan free: limit minute amount 60 → 70"]}


# Against the database


@pytest.mark.parametrize("path", ["/v1/large", "/v1/large/x", "/v1"])
def test_a_path_that_collides_with_a_model_in_the_database_is_refused(refused, path):
    (told,) = refused(f'[models.other]\ntitle = "x"\npath = "{path}"\n')
    assert told == (
        f"3 [models.other] the path {path} collides with /v1/large, the path of model lg, which is not in this file; "
        "no path may be a prefix of another: write a different path, or add [models.lg] with one"
    )


def test_a_path_is_free_when_the_file_moves_its_model(apply):
    assert "model other: new" in apply('[models.other]\npath = "/v1/large"\n[models.lg]\npath = "/elsewhere"\n')
    assert ServedModel.objects.get(path="/v1/large").slug == "other"


def test_two_models_can_swap_their_paths(apply):
    printed = apply('[models.sm]\ntitle = "small"\npath = "/v1/large"\n[models.lg]\ncost = 5\npath = "/sm"\n')
    assert printed == "model sm: path '/sm' → '/v1/large'\nmodel lg: path '/v1/large' → '/sm'\n2 changed.\n"
    assert dict(ServedModel.objects.values_list("slug", "path")) == {"sm": "/v1/large", "lg": "/sm"}


def test_a_cost_that_a_plan_of_the_database_never_holds_is_refused(refused):
    told = refused('[models.sm]\ntitle = "small"\ncost = 1001\n')
    assert told == [
        "3 [models.sm] a call to sm costs 1001 and never fits into the limit month with room for 1000: raise its "
        "amount or lower the cost; the plan is free, which is not in this file"
    ]


def test_a_new_model_must_fit_a_plan_of_every_model(apply, refused):
    apply(
        '[plans.all]\nmodels = ["*"]\nlimits = [{ name = "d", per = "key", amount = 9, window = "day", unit = "units" }]'
    )
    assert "a call to big costs 10 and never fits into the limit d" in refused("[models.big]\ncost = 10\n")[0]


def test_a_plan_of_every_model_must_hold_a_model_of_the_database(refused):
    text = '[plans.all]\nmodels = ["*"]\nlimits = [{ name = "d", per = "key", amount = 4, window = "day", unit = "units" }]'
    (told,) = refused(text)
    assert told.startswith("3 [plans.all] a call to lg costs 5 and never fits into the limit d with room for 4")


# Counters


def _limits(plan: str = "free") -> dict[str, PlanLimit]:
    return {row.name: row for row in PlanLimit.objects.filter(plan__name=plan)}


def test_a_renamed_limit_keeps_its_count(apply):
    before = _limits()["month"]
    printed = apply(CATALOGUE.replace('name = "month"', 'name = "quota"'))
    assert "plan free: limit quota name month → quota" in printed
    assert _limits()["quota"].counted_since == before.counted_since
    assert _limits()["quota"].value().identity == before.value().identity


def test_two_limits_can_swap_their_names(apply):
    before = _limits()
    apply(
        CATALOGUE.replace('"minute", per', '"tmp", per')
        .replace('"month", per', '"minute", per')
        .replace('"tmp", per', '"month", per')
    )
    after = _limits()
    assert after["minute"].window == "month" and after["month"].window == "minute"
    assert after["minute"].counted_since == before["month"].counted_since


@pytest.mark.parametrize("change", [("amount = 1000", "amount = 2000"), ('"units" }', '"units", shadow = true }')])
def test_a_changed_amount_or_shadow_keeps_the_count(apply, change):
    before = _limits()["month"]
    apply(CATALOGUE.replace(*change))
    assert _limits()["month"].counted_since == before.counted_since
    assert _limits()["month"].pk == before.pk


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        (("amount = 60", "amount = 61"), "amount", 61),
        (("burst = 10 }", "burst = 11 }"), "burst", 11),
        ((", burst = 10 }", " }"), "burst", None),
        (("burst = 10 }", "burst = 10, shadow = true }"), "shadow", True),
    ],
)
def test_each_field_of_a_limit_changes_by_itself(apply, change, field, value):
    printed = apply(CATALOGUE.replace(*change))
    assert f"plan free: limit minute {field} " in printed and printed.endswith("1 changed.\n")
    assert getattr(_limits()["minute"], field) == value


@pytest.mark.parametrize(("field", "value"), [("offered", True), ("max_keys", 7), ("auto_include", True)])
def test_each_field_of_a_plan_changes_by_itself(apply, field, value):
    written = str(value).lower()
    printed = apply(CATALOGUE.replace("[plans.pro]", f"[plans.pro]\n    {field} = {written}"))
    assert printed.endswith("1 changed.\n")
    assert getattr(Plan.objects.get(name="pro"), field) == value


@pytest.mark.parametrize(
    "change",
    [
        ('window = "month"', 'window = "day"'),
        ('unit = "units"', 'unit = "requests"'),
        ('unit = "units"', 'unit = "units", model = "sm"'),
        ('"month", per = "account"', '"month", per = "key"'),
    ],
)
def test_a_changed_counter_starts_now(apply, change):
    before, now = _limits()["month"], timezone.now()
    printed = apply(CATALOGUE.replace(*change))
    assert "plan free: limit month removed" in printed and "plan free: limit month new" in printed
    assert _limits()["month"].counted_since >= now > before.counted_since


def test_the_same_values_can_be_written_in_full(file):
    text = limit(unit='"units"', model='"sm"', burst="7", shadow="true")
    assert read_catalogue_file(file(text)).plans["free"].limits == (
        Limit(name="a", scope="key", amount=5, window="minute", unit="units", model="sm", burst=7, shadow=True),
    )


KEY_MINUTE = '{ name = "minute", per = "key", amount = 60, window = "minute", burst = 10 }'


def plan_of(*limits: str) -> str:
    return GOOD + "limits = [\n  " + ",\n  ".join(limits) + ",\n]\n"


@pytest.mark.parametrize("options", [{}, {"dry_run": True}])
def test_a_limit_per_key_without_one_per_account_gets_a_warning(apply, options):
    err = StringIO()
    out = apply(plan_of(KEY_MINUTE), stderr=err, **options)
    assert "limit minute" in out or "plan free" in out
    (line,) = err.getvalue().splitlines()
    assert re.match(
        r"Warning: .*file\.toml:5: \[plans\.free\] the limit minute multiplies with an account's keys", line
    )
    assert "10 times 60 requests a minute" in line


def test_the_warning_comes_each_time_and_never_fails(apply):
    for _ in range(2):
        err = StringIO()
        out = apply(plan_of(KEY_MINUTE), stderr=err)
        assert err.getvalue().count("Warning") == 1
    assert "Nothing to change." in out


@pytest.mark.parametrize(
    ("key", "account", "is_bounded"),
    [
        ({}, {}, True),
        ({}, {"window": "second"}, True),
        ({}, {"unit": "units"}, True),
        ({}, {"window": "month"}, False),  # it limits the total, not the rate
        ({}, {"window": "month", "unit": "units"}, False),
        ({}, {"model": "sm"}, False),
        ({}, {"shadow": True}, False),
        ({"unit": "units"}, {}, False),
        ({"unit": "units"}, {"unit": "units"}, True),
        ({"model": "sm"}, {}, True),
        ({"model": "sm"}, {"model": "sm"}, True),
        ({"model": "sm"}, {"model": "lg"}, False),
        ({"window": "month"}, {"window": "month"}, True),
        ({"window": "month"}, {"window": "day"}, True),
        ({"window": "month"}, {"window": "hour"}, True),
        ({"window": "month"}, None, False),
        ({"shadow": True}, None, True),
    ],
)
def test_a_limit_per_account_bounds_one_per_key_that_it_covers(key, account, is_bounded):
    fields = {"amount": 5, "window": "minute"}
    limits = [Limit(**{"name": "k", "scope": "key", **fields, **key})]
    if account is not None:
        limits.append(Limit(**{"name": "a", "scope": "account", **fields, **account}))
    assert [limit.name for limit, _ in rules.multiplied(limits)] == ([] if is_bounded else ["k"])


def test_the_shipped_catalogue_causes_no_warning():
    assert list(read_catalogue_file(ROOT / "deploy" / "catalogue.toml").warnings()) == []


def test_a_model_may_have_an_example_and_speak_openai(tmp_path):
    file = tmp_path / "catalogue.toml"
    file.write_text('[models.llm]\nspeaks = "openai"\nexample = { path = "/v1/chat/completions", body = { n = 1 } }\n')
    model = read_catalogue_file(file).models["llm"]
    assert (model.speaks, model.example) == ("openai", {"path": "/v1/chat/completions", "body": {"n": 1}})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('speaks = "ollama"', 'write speaks = "openai"'),
        ('example = "x"', "write an object"),
        ('example = { path = "ner" }', "does not continue"),
        ("example = { body = { at = 2026-01-01 } }", "write dates as text"),
    ],
)
def test_a_bad_example_is_refused_with_its_line(tmp_path, line, said):
    file = tmp_path / "catalogue.toml"
    file.write_text(f"[models.llm]\ncost = 1\n{line}\n")
    with pytest.raises(BadCatalogue) as caught:
        read_catalogue_file(file)
    assert said in str(caught.value) and f"{file}:3:" in str(caught.value)
