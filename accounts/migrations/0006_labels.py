"""Names are labels: one printable line, and an account's need not be its own. User names are one in any case."""

import django.contrib.auth.validators
import django.core.validators
import runtime.labels
from django.db import migrations, models



class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_caps"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="account",
            options={"ordering": ["name", "pk"]},
        ),
        migrations.AlterModelManagers(
            name="user",
            managers=[],
        ),
        migrations.AddField(
            model_name="account",
            name="erased_at",
            field=models.DateTimeField(
                blank=True, editable=False, help_text="When its names were forgotten; it cannot be reopened.", null=True
            ),
        ),
        migrations.AddField(
            model_name="account",
            name="former_external_id",
            field=models.CharField(
                blank=True,
                db_index=True,
                editable=False,
                help_text="What it had until it was erased: invoices are still written under it.",
                max_length=200,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="user",
            name="folded_username",
            field=models.CharField(editable=False, max_length=600, null=True, unique=True),
        ),
        migrations.AlterField(
            model_name="account",
            name="external_id",
            field=models.CharField(
                blank=True,
                help_text="What the operator's own system calls it: commands and the API find it by this, too.",
                max_length=200,
                null=True,
                unique=True,
                validators=[
                    django.core.validators.RegexValidator(
                        "^[A-Za-z0-9._~:@|+-]{1,200}\\Z", "Use 1 to 200 of A-Z a-z 0-9 . _ ~ : @ | + -."
                    )
                ],
            ),
        ),
        migrations.AlterField(
            model_name="account",
            name="name",
            field=models.CharField(db_index=True, max_length=200, validators=[runtime.labels.one_line]),
        ),
        migrations.AlterField(
            model_name="apikey",
            name="name",
            field=models.CharField(max_length=200, validators=[runtime.labels.one_line]),
        ),
        migrations.AlterField(
            model_name="invitation",
            name="email",
            field=models.EmailField(max_length=254, validators=[runtime.labels.one_line]),
        ),
        migrations.AlterField(
            model_name="keysecret",
            name="start",
            field=models.CharField(
                help_text="The first characters, for people to recognise it by.",
                max_length=24,
                validators=[runtime.labels.one_line],
            ),
        ),
        migrations.AlterField(
            model_name="managementkey",
            name="name",
            field=models.CharField(max_length=200, validators=[runtime.labels.one_line]),
        ),
        migrations.AlterField(
            model_name="operatortoken",
            name="name",
            field=models.CharField(max_length=200, validators=[runtime.labels.one_line]),
        ),
        migrations.AlterField(
            model_name="user",
            name="email",
            field=models.EmailField(
                blank=True, max_length=254, validators=[runtime.labels.one_line], verbose_name="email address"
            ),
        ),
        migrations.AlterField(
            model_name="user",
            name="first_name",
            field=models.CharField(
                blank=True, max_length=150, validators=[runtime.labels.one_line], verbose_name="first name"
            ),
        ),
        migrations.AlterField(
            model_name="user",
            name="last_name",
            field=models.CharField(
                blank=True, max_length=150, validators=[runtime.labels.one_line], verbose_name="last name"
            ),
        ),
        migrations.AlterField(
            model_name="user",
            name="username",
            field=models.CharField(
                error_messages={"unique": "A user with that username already exists."},
                help_text="Up to 150 letters, digits and @ . + - _; upper and lower case are the same.",
                max_length=150,
                unique=True,
                validators=[django.contrib.auth.validators.UnicodeUsernameValidator(), runtime.labels.one_line],
            ),
        ),
    ]
