"""Members get public ids, and an account's part of the audit log an index. The version before goes on beside it."""

from django.db import migrations, models

import accounts.models


def name_members(apps, schema_editor):
    for membership in apps.get_model("accounts", "Membership").objects.filter(public_id=None).iterator():
        membership.public_id = accounts.models.new_member_id()
        membership.save(update_fields=["public_id"])


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_api")]
    why_the_version_before_works = (
        "It inserts members without the new column, which is then NULL: a unique column may hold many of those, and the "
        "worker of this version names them within a minute. What exists gets its id and nothing else changes."
    )

    operations = [
        migrations.AddField("membership", "public_id", models.CharField(editable=False, max_length=16, null=True)),
        migrations.RunPython(name_members, migrations.RunPython.noop),
        migrations.AlterField(
            "membership",
            "public_id",
            models.CharField(
                default=accounts.models.new_member_id, editable=False, max_length=16, null=True, unique=True
            ),
        ),
        migrations.AddIndex("auditevent", models.Index(fields=["account", "-id"], name="audit_of_an_account")),
    ]
