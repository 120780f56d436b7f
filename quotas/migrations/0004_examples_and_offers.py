from __future__ import annotations

from django.db import migrations, models

import quotas.examples


class Migration(migrations.Migration):
    dependencies = [("quotas", "0002_refusals")]

    operations = [
        migrations.AddField(
            "servedmodel",
            "speaks",
            models.CharField(
                blank=True,
                choices=[("openai", "OpenAI’s API")],
                db_default="",
                default="",
                help_text="The protocol of its clients: the console then shows calls with the openai package too.",
                max_length=16,
            ),
        ),
        migrations.AddField(
            "servedmodel",
            "example",
            models.JSONField(
                blank=True,
                help_text='A call that works, for the console: {"method": "POST", "path": "/ner", "body": …, '
                '"answer": …}. The path continues the model’s.',
                null=True,
                validators=[quotas.examples.check_example],
            ),
        ),
        migrations.AddField(
            "plan",
            "offered",
            models.BooleanField(
                db_default=False,
                default=False,
                help_text="Whether customers on other plans see it in the comparison on their account's page.",
            ),
        ),
    ]
