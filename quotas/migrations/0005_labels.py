"""Titles are one printable line."""

import runtime.labels
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("quotas", "0004_caps"),
    ]

    operations = [
        migrations.AlterField(
            model_name="plan",
            name="title",
            field=models.CharField(blank=True, max_length=200, validators=[runtime.labels.one_line]),
        ),
        migrations.AlterField(
            model_name="servedmodel",
            name="title",
            field=models.CharField(blank=True, max_length=200, validators=[runtime.labels.one_line]),
        ),
    ]
