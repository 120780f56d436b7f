"""Each migration leaves what the version before reads and writes: during an update both run, and a rollback needs no
other database. A migration that looks as if it did not, and does, says so in `why_the_version_before_works`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.validators import MinLengthValidator
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

OUR_APPS = ("accounts", "quotas")
REASON = "why_the_version_before_works"

GONE = (
    "the version before still reads it: take it out of the code and the state first (SeparateDatabaseAndState), "
    "and out of the database in the version after"
)
RENAMED = (
    "the version before knows the old name: add the new one beside it, and take the old one away in a later version"
)
REQUIRED = "the version before inserts rows without it: give it `db_default=`, or null=True"
NARROWED = "the version before may write what it refuses: add a field of the new kind beside it"
NULLED = "the version before may write NULL: leave null=True for one version that writes none"
UNKNOWN = "nobody can tell what it does to the version before"
STRICTER = "the version before may write what it refuses: enforce it in the code for one version first"


def faults(migration: Migration, state: ProjectState) -> list[str]:
    """What the version before cannot live with, as sentences that say what to do. Moves `state` on."""
    found = []
    born = set()  # the version before knows nothing of tables that are made here
    for operation in migration.operations:
        if isinstance(operation, migrations.CreateModel):
            born.add(operation.name_lower)
        if getattr(operation, "model_name_lower", None) in born:
            operation.state_forwards(migration.app_label, state)
            continue
        if fault := _fault(operation, migration.app_label, state):
            found.append(f"{migration.app_label}.{migration.name}, {operation.describe()}: {fault}.")
        operation.state_forwards(migration.app_label, state)
    reason = getattr(migration, REASON, "")
    return [] if len(reason) >= 20 else [f"{text} If it does live with it, say why in `{REASON}`." for text in found]


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


def plan() -> Iterator[Migration]:
    """Every migration of every app, in an order in which they can be applied."""
    loader = MigrationLoader(None)
    for key in dict.fromkeys(one for leaf in loader.graph.leaf_nodes() for one in loader.graph.forwards_plan(leaf)):
        yield loader.graph.nodes[key]


def test_every_migration_leaves_what_the_version_before_needs():
    state, found = ProjectState(), []
    for migration in plan():
        if migration.app_label in OUR_APPS and migration.name != "0001_initial":
            found += faults(migration, state)
        else:
            migration.mutate_state(state, preserve=False)
    assert found == []


TEXT: Any = models.CharField(max_length=20, null=True)


def one_migration(*operations: Operation, **attributes: str) -> list[str]:
    state = ProjectState()
    state.add_model(ModelState("app", "Thing", [("id", models.BigAutoField(primary_key=True)), ("text", TEXT)]))
    migration = type("Migration", (Migration,), {"operations": list(operations), **attributes})("0002_next", "app")
    return faults(migration, state)


@pytest.mark.parametrize(
    ("operation", "advice"),
    [
        (migrations.RemoveField("thing", "text"), "SeparateDatabaseAndState"),
        (migrations.DeleteModel("thing"), "SeparateDatabaseAndState"),
        (
            migrations.SeparateDatabaseAndState(database_operations=[migrations.RemoveField("thing", "text")]),
            "reads it",
        ),
        (migrations.RenameField("thing", "text", "words"), "beside it"),
        (migrations.RenameModel("thing", "object"), "beside it"),
        (migrations.AlterModelTable("thing", "objects"), "beside it"),
        (migrations.AddField("thing", "size", models.IntegerField(default=0)), "`db_default=`"),
        (migrations.AlterField("thing", "text", models.CharField(max_length=20, db_default="")), "writes none"),
        (migrations.AlterField("thing", "text", models.CharField(max_length=19, null=True)), "a field of the new kind"),
        (migrations.AlterField("thing", "text", models.IntegerField(null=True)), "a field of the new kind"),
        (migrations.AlterField("thing", "text", models.CharField(max_length=20, null=True, unique=True)), "beside it"),
        (migrations.AddConstraint("thing", models.UniqueConstraint(fields=["text"], name="one")), "for one version"),
        (migrations.RunPython(migrations.RunPython.noop), "nobody can tell"),
        (migrations.RunSQL("SELECT 1"), "nobody can tell"),
    ],
    ids=lambda value: value.describe() if isinstance(value, Operation) else "",
)
def test_what_the_version_before_cannot_live_with_is_told(operation, advice):
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
def test_what_the_version_before_can_live_with_passes(operation):
    assert one_migration(operation) == []
