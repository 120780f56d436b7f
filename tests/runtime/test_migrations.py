"""A migration must not break the previous version: both run during an update, and a rollback keeps the new schema.

A migration that only looks as if it broke the previous version explains why in `why_the_version_before_works`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.core.validators import MinLengthValidator
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

OUR_APPS = ("accounts", "quotas")
FIRST_RELEASE = {("accounts", "0001_initial"), ("quotas", "0001_initial")}  # no version ran before these
REASON = "why_the_version_before_works"

GONE = (
    "the previous version still reads it: remove it from the code and the state first (SeparateDatabaseAndState), "
    "and from the database in the next version"
)
RENAMED = "the previous version uses the old name: add the new one beside it, and drop the old one in a later version"
REQUIRED = "the previous version inserts rows without it: give it `db_default=`, or null=True"
NARROWED = "the previous version may write values that it refuses: add a field of the new kind beside it"
NULLED = "the previous version may write NULL: keep null=True until one version has written none"
UNKNOWN = "its effect on the previous version cannot be determined"
STRICTER = "the previous version may write rows that it refuses: enforce it in code for one version first"


def breaking_changes(history: Iterable[Migration]) -> list[str]:
    """The faults of every migration of ours after the first release; `history` is in order of application."""
    state, found = ProjectState(), []
    for migration in history:
        if migration.app_label in OUR_APPS and (migration.app_label, migration.name) not in FIRST_RELEASE:
            found += faults(migration, state)
        else:
            migration.mutate_state(state, preserve=False)
    return found


def faults(migration: Migration, state: ProjectState) -> list[str]:
    """Each change that would break the previous version, with advice. Applies the migration to `state`."""
    found = []
    created = set()  # the previous version does not use tables that are created here
    for operation in migration.operations:
        if isinstance(operation, migrations.CreateModel):
            created.add(operation.name_lower)
        if getattr(operation, "model_name_lower", None) in created:
            operation.state_forwards(migration.app_label, state)
            continue
        if fault := _fault(operation, migration.app_label, state):
            found.append(f"{migration.app_label}.{migration.name}, {operation.describe()}: {fault}.")
        operation.state_forwards(migration.app_label, state)
    reason = getattr(migration, REASON, "")
    return (
        []
        if len(reason) >= 20
        else [f"{text} If it is safe nevertheless, explain why in `{REASON}`." for text in found]
    )


def _fault(operation: Operation, app: str, state: ProjectState) -> str:
    match operation:
        case migrations.SeparateDatabaseAndState():
            return next(filter(None, (_fault(one, app, state) for one in operation.database_operations)), "")
        case migrations.RemoveField() | migrations.DeleteModel():
            return GONE
        case migrations.RenameField() | migrations.RenameModel() | migrations.AlterModelTable():
            return RENAMED
        case migrations.AddField():
            return REQUIRED if _must_be_given(operation.field) else ""
        case migrations.AlterField():
            before = state.models[app, operation.model_name_lower].fields[operation.name]
            return _narrowed(before, operation.field)
        case migrations.AddConstraint() | migrations.AlterUniqueTogether():
            return STRICTER
        case migrations.RunPython() | migrations.RunSQL():
            return UNKNOWN
    return ""


def _must_be_given(field: models.Field[Any, Any]) -> bool:
    return not (field.null or field.many_to_many or field.db_default is not models.NOT_PROVIDED)


def _narrowed(before: models.Field[Any, Any], after: models.Field[Any, Any]) -> str:
    if before.null and not after.null:
        return NULLED
    if type(before) is not type(after) or before.db_column != after.db_column:
        return NARROWED
    longest = [field.max_length or float("inf") for field in (before, after)]
    return NARROWED if longest[1] < longest[0] or (after.unique and not before.unique) else ""


def all_migrations() -> Iterator[Migration]:
    """The migrations of every app, in order of application."""
    loader = MigrationLoader(None)
    for key in dict.fromkeys(one for leaf in loader.graph.leaf_nodes() for one in loader.graph.forwards_plan(leaf)):
        yield loader.graph.nodes[key]


def migration_of(app: str, name: str, *operations: Operation, **attributes: str) -> Migration:
    migration: type[Migration] = type("Migration", (Migration,), {"operations": list(operations), **attributes})
    return migration(name, app)


def test_no_migration_breaks_the_previous_version():
    assert breaking_changes(all_migrations()) == []


def test_a_breaking_migration_after_the_first_release_is_found():
    planted = migration_of("accounts", "0002_planted", migrations.RemoveField("account", "plan_since"))
    (fault,) = breaking_changes([*all_migrations(), planted])
    assert fault.startswith("accounts.0002_planted, Remove field plan_since from account: the previous version still")


TEXT: Any = models.CharField(max_length=20, null=True)


def one_migration(*operations: Operation, **attributes: str) -> list[str]:
    state = ProjectState()
    state.add_model(ModelState("app", "Thing", [("id", models.BigAutoField(primary_key=True)), ("text", TEXT)]))
    return faults(migration_of("app", "0002_next", *operations, **attributes), state)


@pytest.mark.parametrize(
    ("operation", "advice"),
    [
        (migrations.RemoveField("thing", "text"), "SeparateDatabaseAndState"),
        (migrations.DeleteModel("thing"), "SeparateDatabaseAndState"),
        (
            migrations.SeparateDatabaseAndState(database_operations=[migrations.RemoveField("thing", "text")]),
            "still reads it",
        ),
        (migrations.RenameField("thing", "text", "words"), "beside it"),
        (migrations.RenameModel("thing", "object"), "beside it"),
        (migrations.AlterModelTable("thing", "objects"), "beside it"),
        (migrations.AddField("thing", "size", models.IntegerField(default=0)), "`db_default=`"),
        (migrations.AlterField("thing", "text", models.CharField(max_length=20, db_default="")), "has written none"),
        (migrations.AlterField("thing", "text", models.CharField(max_length=19, null=True)), "a field of the new kind"),
        (migrations.AlterField("thing", "text", models.IntegerField(null=True)), "a field of the new kind"),
        (migrations.AlterField("thing", "text", models.CharField(max_length=20, null=True, unique=True)), "beside it"),
        (
            migrations.AddConstraint("thing", models.UniqueConstraint(fields=["text"], name="one")),
            "in code for one version",
        ),
        (migrations.RunPython(migrations.RunPython.noop), "cannot be determined"),
        (migrations.RunSQL("SELECT 1"), "cannot be determined"),
    ],
    ids=lambda value: value.describe() if isinstance(value, Operation) else "",
)
def test_a_change_that_breaks_the_previous_version_is_found_with_advice(operation, advice):
    (fault,) = one_migration(operation)
    assert advice in fault
    assert "app.0002_next" in fault
    assert one_migration(operation, **{REASON: "Nothing has read this since 1.3."}) == []


@pytest.mark.parametrize(
    "operation",
    [
        migrations.CreateModel("Other", [("id", models.BigAutoField(primary_key=True)), ("text", models.TextField())]),
        migrations.AddField("thing", "size", models.IntegerField(db_default=0)),
        migrations.AddField("thing", "size", models.IntegerField(null=True)),
        migrations.AlterField("thing", "text", models.CharField(max_length=40, null=True)),
        migrations.AlterField(
            "thing", "text", models.CharField(max_length=20, null=True, validators=[MinLengthValidator(2)])
        ),
        migrations.AddIndex("thing", models.Index(fields=["text"], name="by_text")),
        migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField("thing", "text")]),
    ],
    ids=lambda value: value.describe(),
)
def test_a_change_that_the_previous_version_can_live_with_passes(operation):
    assert one_migration(operation) == []
