from django.db import migrations, models
from django.db.models.lookups import Exact


class Migration(migrations.Migration):
    """Sums of days: by month for each key, and by day for each account (docs/decisions/0044)."""

    dependencies = [
        ('quotas', '0005_larger_smoothed_limits'),
    ]

    operations = [
        migrations.CreateModel(
            name='AccountDay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('account', models.CharField(max_length=8)),
                ('model', models.CharField(max_length=63)),
                ('day', models.DateTimeField(help_text='The midnight UTC at which it begins.')),
                ('allowed', models.BigIntegerField(default=0)),
                ('refused', models.BigIntegerField(default=0)),
                ('shadow_refused', models.BigIntegerField(default=0)),
                ('units', models.BigIntegerField(default=0)),
            ],
            options={
                'ordering': ['-day', 'account', 'model'],
                'indexes': [models.Index(fields=['day'], name='account_usage_by_day')],
                'constraints': [models.UniqueConstraint(fields=('account', 'day', 'model'), name='account_usage_once_a_day')],
            },
        ),
        migrations.CreateModel(
            name='RefusalMonth',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('account', models.CharField(max_length=8)),
                ('key', models.CharField(max_length=16)),
                ('model', models.CharField(max_length=63)),
                ('month', models.DateTimeField(help_text='The midnight UTC at which it begins.')),
                ('reason', models.CharField(max_length=32)),
                ('by_limit', models.CharField(blank=True, max_length=100)),
                ('calls', models.BigIntegerField()),
            ],
            options={
                'ordering': ['-month', 'key', 'model'],
                'indexes': [models.Index(fields=['account', 'month'], name='refusal_months_of_an_account'), models.Index(fields=['month'], name='refusals_by_month')],
                'constraints': [models.UniqueConstraint(fields=('key', 'model', 'month', 'reason', 'by_limit'), name='refusals_once_a_month')],
            },
        ),
        migrations.CreateModel(
            name='UsageMonth',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('account', models.CharField(max_length=8)),
                ('key', models.CharField(max_length=16)),
                ('model', models.CharField(max_length=63)),
                ('month', models.DateTimeField(help_text='The midnight UTC at which it begins.')),
                ('allowed', models.BigIntegerField(default=0)),
                ('refused', models.BigIntegerField(default=0)),
                ('shadow_refused', models.BigIntegerField(default=0)),
                ('units', models.BigIntegerField(default=0)),
            ],
            options={
                'ordering': ['-month', 'key', 'model'],
                'indexes': [models.Index(fields=['account', 'month'], name='usage_months_of_an_account'), models.Index(fields=['month'], name='usage_by_month')],
                'constraints': [models.UniqueConstraint(fields=('key', 'model', 'month'), name='usage_once_a_month')],
            },
        ),
        migrations.AddField(
            model_name='refusalday',
            name='summed_calls',
            field=models.PositiveBigIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name='usageday',
            name='summed_allowed',
            field=models.PositiveBigIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name='usageday',
            name='summed_refused',
            field=models.PositiveBigIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name='usageday',
            name='summed_shadow_refused',
            field=models.PositiveBigIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name='usageday',
            name='summed_units',
            field=models.PositiveBigIntegerField(db_default=0),
        ),
        migrations.AddIndex(
            model_name='refusalday',
            index=models.Index(condition=models.Q(Exact(models.Case(models.When(models.Q(('calls', models.F('summed_calls')), _negated=True), then=1), default=0), 1)), fields=['day'], name='refusal_days_to_sum'),
        ),
        migrations.AddIndex(
            model_name='usageday',
            index=models.Index(condition=models.Q(Exact(models.Case(models.When(models.Q(('allowed', models.F('summed_allowed')), ('refused', models.F('summed_refused')), ('shadow_refused', models.F('summed_shadow_refused')), ('units', models.F('summed_units')), _negated=True), then=1), default=0), 1)), fields=['day'], name='usage_days_to_sum'),
        ),
    ]
