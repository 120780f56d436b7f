"""The schema of 0.2.0, the first release."""

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.comparison
import django.utils.timezone
import runtime.labels
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='DaysKept',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('since', models.DateTimeField()),
            ],
            options={
                'verbose_name_plural': 'days kept',
                'constraints': [models.CheckConstraint(condition=models.Q(('pk', 1)), name='days_kept_is_one_row')],
            },
        ),
        migrations.CreateModel(
            name='Deployment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('identity', models.CharField(max_length=32)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('pk', 1)), name='deployment_is_one_row')],
            },
        ),
        migrations.CreateModel(
            name='ServedModel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.CharField(help_text='The name of the model in keys, plans and headers.', max_length=63, unique=True, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\\Z', 'Use up to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit: it is used in headers.')])),
                ('path', models.CharField(help_text='The path prefix that Traefik routes to it, such as /en_core_web_sm. Paths must not overlap.', max_length=255, unique=True, validators=[django.core.validators.RegexValidator('^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,127}){1,8}\\Z', 'Use a path of plain segments, such as /en_core_web_sm or /v1/chat.')])),
                ('title', models.CharField(blank=True, max_length=200, validators=[runtime.labels.one_line])),
                ('cost', models.PositiveIntegerField(default=1, help_text='How many units one call uses.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1000000)])),
                ('enabled', models.BooleanField(default=True, help_text='Calls to a disabled model are refused like calls to an unknown one.')),
                ('auto_include', models.BooleanField(default=True, help_text='Whether plans with every model ("*") include it. If not, they include it once a plan names it.')),
                ('discovered_at', models.DateTimeField(blank=True, editable=False, help_text='When discover_models found it in Traefik, if it was not in the catalogue before.', null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['slug'],
                'constraints': [models.CheckConstraint(condition=models.Q(('cost__gte', 1), ('cost__lte', 1000000)), name='model_cost_in_range'), models.CheckConstraint(condition=models.Q(('path__startswith', '/')), name='model_path_begins_with_slash')],
            },
        ),
        migrations.CreateModel(
            name='Plan',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=63, unique=True, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\\Z', 'Use up to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit: it is used in headers.')])),
                ('title', models.CharField(blank=True, max_length=200, validators=[runtime.labels.one_line])),
                ('all_models', models.BooleanField(default=False, help_text='Every enabled model, including future ones ("*").')),
                ('auto_include', models.BooleanField(default=False, help_text='For a plan with every model: include models found in Traefik that no plan names yet.')),
                ('max_keys', models.PositiveIntegerField(default=100, help_text='How many keys an account may have that are neither revoked nor expired.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1000000)], verbose_name='most keys')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('served_models', models.ManyToManyField(blank=True, related_name='plans', to='quotas.servedmodel')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='UsageDay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('account', models.CharField(max_length=8)),
                ('key', models.CharField(max_length=16)),
                ('model', models.CharField(max_length=63)),
                ('day', models.DateTimeField(help_text='The midnight UTC at which it begins.')),
                ('allowed', models.PositiveBigIntegerField(default=0)),
                ('refused', models.PositiveBigIntegerField(default=0)),
                ('shadow_refused', models.PositiveBigIntegerField(default=0)),
                ('units', models.PositiveBigIntegerField(default=0)),
            ],
            options={
                'ordering': ['-day', 'key', 'model'],
                'indexes': [models.Index(fields=['account', 'day'], name='usage_days_of_an_account'), models.Index(fields=['day'], name='usage_by_day')],
                'constraints': [models.UniqueConstraint(fields=('key', 'model', 'day'), name='usage_once_a_day')],
            },
        ),
        migrations.CreateModel(
            name='UsageHour',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('account', models.CharField(max_length=8)),
                ('key', models.CharField(max_length=16)),
                ('model', models.CharField(max_length=63)),
                ('hour', models.DateTimeField()),
                ('birth', models.BigIntegerField(help_text='The microsecond at which the counter in Redis started.')),
                ('allowed', models.PositiveBigIntegerField(default=0)),
                ('refused', models.PositiveBigIntegerField(default=0)),
                ('shadow_refused', models.PositiveBigIntegerField(default=0)),
                ('units', models.PositiveBigIntegerField(default=0)),
            ],
            options={
                'ordering': ['-hour', 'key', 'model'],
                'indexes': [models.Index(fields=['account', 'hour'], name='usage_of_an_account'), models.Index(fields=['hour'], name='usage_by_hour')],
                'constraints': [models.UniqueConstraint(fields=('key', 'model', 'hour', 'birth'), name='usage_once_per_birth'), models.CheckConstraint(condition=models.Q(('units__gte', models.F('allowed'))), name='usage_units_cover_calls')],
            },
        ),
        migrations.CreateModel(
            name='Catalogue',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.PositiveBigIntegerField(default=1)),
                ('changed_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('default_plan', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='quotas.plan')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('pk', 1)), name='catalogue_is_one_row')],
            },
        ),
        migrations.CreateModel(
            name='PlanLimit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='The policy name in RateLimit headers.', max_length=63, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\\Z', 'Use up to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit: it is used in headers.')])),
                ('amount', models.PositiveBigIntegerField(validators=[django.core.validators.MinValueValidator(1)])),
                ('window', models.CharField(choices=[('second', 'second'), ('minute', 'minute'), ('hour', 'hour'), ('day', 'day'), ('month', 'month')], max_length=6)),
                ('unit', models.CharField(choices=[('requests', 'requests'), ('units', 'units')], default='requests', max_length=8)),
                ('burst', models.PositiveIntegerField(blank=True, help_text='For limits per second, minute and hour: how much can be used at once. Empty: the amount.', null=True)),
                ('counted_since', models.DateTimeField(help_text='When its counter took effect. If its day or month had already begun, earlier usage is counted too.')),
                ('scope', models.CharField(choices=[('account', 'account'), ('key', 'key')], help_text="Whether an account's keys share the limit or each has its own.", max_length=7)),
                ('shadow', models.BooleanField(default=False, help_text='Counts what it would refuse, but refuses nothing.')),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='limits', to='quotas.plan')),
                ('model', models.ForeignKey(blank=True, help_text='Empty: calls to all models together.', null=True, on_delete=django.db.models.deletion.PROTECT, to='quotas.servedmodel')),
            ],
            options={
                'ordering': ['plan', 'name'],
                'constraints': [models.UniqueConstraint(fields=('plan', 'name'), name='limit_name_once_in_a_plan'), models.UniqueConstraint(models.F('plan'), models.F('scope'), django.db.models.functions.comparison.Coalesce('model', 0), models.F('unit'), models.F('window'), name='limit_counter_once_in_a_plan'), models.CheckConstraint(condition=models.Q(('scope__in', ('account', 'key'))), name='limit_scope_known'), models.CheckConstraint(condition=models.Q(('amount__gte', 1), models.Q(('amount__lte', 1000000), models.Q(('window__in', ('second', 'minute', 'hour')), _negated=True), _connector='OR'), ('amount__lte', 1000000000000)), name='limit_amount_in_range'), models.CheckConstraint(condition=models.Q(('burst__isnull', True), models.Q(('window__in', ('second', 'minute', 'hour')), ('burst__gte', 1), ('burst__lte', 1000000)), _connector='OR'), name='limit_burst_in_range'), models.CheckConstraint(condition=models.Q(('window__in', ('second', 'minute', 'hour', 'day', 'month'))), name='limit_window_known'), models.CheckConstraint(condition=models.Q(('unit__in', ('requests', 'units'))), name='limit_unit_known')],
            },
        ),
    ]
