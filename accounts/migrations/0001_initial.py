"""The schema of 0.2.0, the first release."""

import accounts.models.accounts
import accounts.models.keys
import django.contrib.auth.validators
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.comparison
import django.db.models.functions.text
import django.utils.timezone
import runtime.labels
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('quotas', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='User',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('password', models.CharField(max_length=128, verbose_name='password')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('is_superuser', models.BooleanField(default=False, help_text='Designates that this user has all permissions without explicitly assigning them.', verbose_name='superuser status')),
                ('is_staff', models.BooleanField(default=False, help_text='Designates whether the user can log into this admin site.', verbose_name='staff status')),
                ('is_active', models.BooleanField(default=True, help_text='Designates whether this user should be treated as active. Unselect this instead of deleting accounts.', verbose_name='active')),
                ('date_joined', models.DateTimeField(default=django.utils.timezone.now, verbose_name='date joined')),
                ('username', models.CharField(error_messages={'unique': 'A user with that username already exists.'}, help_text='Up to 150 letters, digits and @ . + - _. Not case-sensitive.', max_length=150, unique=True, validators=[django.contrib.auth.validators.UnicodeUsernameValidator(), runtime.labels.one_line], verbose_name='username')),
                ('folded_username', models.CharField(editable=False, max_length=600, unique=True)),
                ('first_name', models.CharField(blank=True, max_length=150, validators=[runtime.labels.one_line], verbose_name='first name')),
                ('last_name', models.CharField(blank=True, max_length=150, validators=[runtime.labels.one_line], verbose_name='last name')),
                ('email', models.EmailField(blank=True, max_length=254, validators=[runtime.labels.one_line], verbose_name='email address')),
                ('groups', models.ManyToManyField(blank=True, help_text='The groups this user belongs to. A user will get all permissions granted to each of their groups.', related_name='user_set', related_query_name='user', to='auth.group', verbose_name='groups')),
                ('user_permissions', models.ManyToManyField(blank=True, help_text='Specific permissions for this user.', related_name='user_set', related_query_name='user', to='auth.permission', verbose_name='user permissions')),
            ],
            options={
                'verbose_name': 'user',
                'verbose_name_plural': 'users',
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='Account',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.CharField(editable=False, max_length=8, unique=True)),
                ('external_id', models.CharField(blank=True, help_text="The account's id in the operator's own system. Commands and the API accept it too.", max_length=200, null=True, unique=True, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9._~:@|+-]{1,200}\\Z', 'Use 1 to 200 of A-Z a-z 0-9 . _ ~ : @ | + -.')])),
                ('former_external_id', models.CharField(blank=True, db_index=True, editable=False, help_text='The external id that the account had until it was erased; it still appears on invoices.', max_length=200)),
                ('name', models.CharField(db_index=True, max_length=200, validators=[runtime.labels.one_line])),
                ('plan_since', models.DateTimeField(editable=False, help_text='When the account was put on this plan.')),
                ('max_keys', models.PositiveIntegerField(blank=True, help_text='How many keys it may have that are neither revoked nor expired. Empty: as many as its plan allows.', null=True, validators=[django.core.validators.MaxValueValidator(1000000)], verbose_name='most keys')),
                ('suspended_at', models.DateTimeField(blank=True, null=True)),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('erased_at', models.DateTimeField(blank=True, editable=False, help_text='When its names were erased. An erased account cannot be reopened.', null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('version', models.PositiveBigIntegerField(default=1, editable=False)),
                ('changed_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now, editable=False)),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='accounts', to='quotas.plan')),
            ],
            options={
                'ordering': ['name', 'pk'],
            },
        ),
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.CharField(editable=False, max_length=16, unique=True)),
                ('name', models.CharField(max_length=200, validators=[runtime.labels.one_line])),
                ('made_with', models.CharField(blank=True, editable=False, help_text='The id of the management key or operator token that created it.', max_length=16, null=True)),
                ('narrowed_to', models.JSONField(blank=True, help_text="The slugs of the only models it may use; null: every model of the account's plan.", null=True)),
                ('networks', models.JSONField(blank=True, default=list, help_text='Client networks in CIDR notation; empty: any.')),
                ('methods', models.JSONField(blank=True, default=list, help_text='HTTP methods; empty: any.')),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('metadata', models.JSONField(blank=True, default=dict, validators=[accounts.models.keys.small_object])),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('version', models.PositiveBigIntegerField(default=1, editable=False)),
                ('changed_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now, editable=False)),
                ('account', models.ForeignKey(editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='keys', to='accounts.account')),
                ('created_by', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'API key',
                'ordering': ['-created_at', '-id'],
            },
        ),
        migrations.CreateModel(
            name='AuditEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(auto_now_add=True, db_index=True)),
                ('actor', models.CharField(help_text='The user name, credential or command.', max_length=200)),
                ('address', models.CharField(blank=True, help_text='The IP address of the request.', max_length=45)),
                ('act', models.CharField(max_length=40, validators=[django.core.validators.RegexValidator('^[a-z]+(\\.[a-z_]+)+\\Z')])),
                ('account', models.CharField(blank=True, db_index=True, max_length=8)),
                ('subject', models.CharField(help_text='The object of the act: a public id, slug or name.', max_length=200)),
                ('before', models.JSONField(null=True)),
                ('after', models.JSONField(null=True)),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['account', '-id'], name='audit_of_an_account')],
            },
        ),
        migrations.CreateModel(
            name='ImportJob',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.CharField(max_length=16, unique=True)),
                ('actor', models.CharField(max_length=200)),
                ('address', models.CharField(blank=True, max_length=45)),
                ('made_with', models.CharField(blank=True, editable=False, help_text='The id of the management key or operator token that created it.', max_length=16, null=True)),
                ('is_dry_run', models.BooleanField()),
                ('by_operator', models.BooleanField(default=False)),
                ('foreign', models.PositiveIntegerField(default=0, help_text='Lines refused because a different account has the key.')),
                ('state', models.CharField(choices=[('receiving', 'Receiving'), ('waiting', 'Waiting'), ('running', 'Running'), ('done', 'Done')], default='receiving', max_length=9)),
                ('lines', models.PositiveIntegerField(default=0)),
                ('imported', models.PositiveIntegerField(default=0)),
                ('already_there', models.PositiveIntegerField(default=0)),
                ('refused', models.PositiveIntegerField(default=0)),
                ('created_at', models.DateTimeField(auto_now_add=True, db_index=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('account', models.ForeignKey(help_text='The account for all lines; null if each line names its own.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.account')),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='ImportLine',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(help_text='Line number in the file; the header is line 1.')),
                ('says', models.JSONField(null=True)),
                ('outcome', models.CharField(choices=[('waiting', 'Waiting'), ('imported', 'Imported'), ('already_there', 'Already There'), ('refused', 'Refused')], default='waiting', max_length=13)),
                ('key', models.CharField(blank=True, help_text='The id of the imported key.', max_length=16)),
                ('why', models.CharField(blank=True, max_length=300)),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rows', to='accounts.importjob')),
            ],
            options={
                'ordering': ['job', 'number'],
            },
        ),
        migrations.CreateModel(
            name='Invitation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.CharField(editable=False, max_length=16, unique=True)),
                ('email', models.EmailField(max_length=254, validators=[runtime.labels.one_line])),
                ('role', models.CharField(choices=[('owner', 'Owner'), ('admin', 'Admin'), ('member', 'Member'), ('viewer', 'Viewer')], default='member', max_length=6)),
                ('invited_by', models.CharField(max_length=200)),
                ('made_with', models.CharField(blank=True, editable=False, help_text='The id of the management key or operator token that created it.', max_length=16, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('sent_at', models.DateTimeField(blank=True, help_text='When the latest mail was sent; empty if it could not be sent.', null=True)),
                ('sendings', models.PositiveIntegerField(default=1, help_text='How many mails were sent. Only the link in the latest one is valid.')),
                ('expires_at', models.DateTimeField()),
                ('accepted_at', models.DateTimeField(blank=True, null=True)),
                ('withdrawn_at', models.DateTimeField(blank=True, null=True)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='invitations', to='accounts.account')),
                ('created_by', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='KeptAnswer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('caller', models.CharField(max_length=48)),
                ('key', models.CharField(help_text='HMAC of the Idempotency-Key.', max_length=64)),
                ('fingerprint', models.CharField(help_text='HMAC of method, path and body.', max_length=64)),
                ('account', models.CharField(blank=True, max_length=8)),
                ('subject', models.CharField(blank=True, help_text='The key that was issued or rotated.', max_length=16)),
                ('pepper', models.CharField(help_text='The pepper used for the digests in this row.', max_length=8)),
                ('nonce', models.CharField(help_text='The nonce from which the secret was derived.', max_length=32)),
                ('digest', models.CharField(blank=True, help_text='The digest of the key that was shown.', max_length=64)),
                ('status', models.PositiveSmallIntegerField()),
                ('body', models.JSONField()),
                ('created_at', models.DateTimeField(auto_now_add=True, db_index=True)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('caller', 'key'), name='answered_once')],
            },
        ),
        migrations.CreateModel(
            name='KeyLimit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='The policy name in RateLimit headers.', max_length=63, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\\Z', 'Use up to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit: it is used in headers.')])),
                ('amount', models.PositiveBigIntegerField(validators=[django.core.validators.MinValueValidator(1)])),
                ('window', models.CharField(choices=[('second', 'second'), ('minute', 'minute'), ('hour', 'hour'), ('day', 'day'), ('month', 'month')], max_length=6)),
                ('unit', models.CharField(choices=[('requests', 'requests'), ('units', 'units')], default='requests', max_length=8)),
                ('burst', models.PositiveIntegerField(blank=True, help_text='For limits per second, minute and hour: how much can be used at once. Empty: the amount.', null=True)),
                ('counted_since', models.DateTimeField(help_text='When its counter took effect. If its day or month had already begun, earlier usage is counted too.')),
                ('key', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='limits', to='accounts.apikey')),
                ('model', models.ForeignKey(blank=True, help_text='Empty: calls to all models together.', null=True, on_delete=django.db.models.deletion.PROTECT, to='quotas.servedmodel')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='KeySecret',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('digest', models.CharField(max_length=64, unique=True)),
                ('pepper', models.CharField(help_text='The id of the pepper used for the digest.', max_length=8)),
                ('minted_pepper', models.CharField(help_text='The id of the pepper used for the check inside the key.', max_length=8)),
                ('is_imported', models.BooleanField(default=False, help_text='Whether the key comes from another system.')),
                ('start', models.CharField(help_text='The first characters, to recognize it by.', max_length=24, validators=[runtime.labels.one_line])),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField(blank=True, help_text='When the grace period of a rotation ends.', null=True)),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
                ('key', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='secrets', to='accounts.apikey')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='ManagementKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.CharField(editable=False, max_length=16, unique=True)),
                ('name', models.CharField(max_length=200, validators=[runtime.labels.one_line])),
                ('scopes', models.JSONField(default=list)),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('pepper', models.CharField(editable=False, help_text='The id of the pepper used for its digest.', max_length=8)),
                ('start', models.CharField(editable=False, help_text='The first characters, to recognize it by.', max_length=48)),
                ('made_with', models.CharField(blank=True, editable=False, help_text='The id of the management key or operator token that created it.', max_length=16, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, help_text='Accurate to a minute.', null=True)),
                ('account', models.ForeignKey(editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='management_keys', to='accounts.account')),
                ('created_by', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='Membership',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.CharField(default=accounts.models.accounts.new_member_id, editable=False, max_length=16, unique=True)),
                ('role', models.CharField(choices=[('owner', 'Owner'), ('admin', 'Admin'), ('member', 'Member'), ('viewer', 'Viewer')], default='member', max_length=6)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to='accounts.account')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.AddField(
            model_name='account',
            name='users',
            field=models.ManyToManyField(related_name='accounts', through='accounts.Membership', to=settings.AUTH_USER_MODEL),
        ),
        migrations.CreateModel(
            name='OperatorToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.CharField(editable=False, max_length=16, unique=True)),
                ('name', models.CharField(max_length=200, validators=[runtime.labels.one_line])),
                ('scopes', models.JSONField(default=list)),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('pepper', models.CharField(editable=False, help_text='The id of the pepper used for its digest.', max_length=8)),
                ('start', models.CharField(editable=False, help_text='The first characters, to recognize it by.', max_length=48)),
                ('made_with', models.CharField(blank=True, editable=False, help_text='The id of the management key or operator token that created it.', max_length=16, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, help_text='Accurate to a minute.', null=True)),
                ('created_by', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='OutboxRow',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('part', models.CharField(choices=[('key', 'Key'), ('account', 'Account'), ('catalogue', 'Catalogue')], max_length=9)),
                ('subject', models.CharField(blank=True, help_text="The key's or account's public id.", max_length=16)),
                ('version', models.PositiveBigIntegerField()),
                ('created_at', models.DateTimeField(auto_now_add=True, db_index=True)),
            ],
            options={
                'verbose_name_plural': 'outbox',
                'ordering': ['id'],
                'indexes': [models.Index(fields=['part', 'subject'], name='outbox_by_part')],
            },
        ),
        migrations.CreateModel(
            name='SeenStore',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('identity', models.TextField(help_text='The run_id of each master.')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('pk', 1)), name='seen_store_is_one_row')],
            },
        ),
        migrations.CreateModel(
            name='AccountOverride',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('limit_name', models.CharField(max_length=63)),
                ('amount', models.PositiveBigIntegerField(validators=[django.core.validators.MinValueValidator(1)])),
                ('burst', models.PositiveIntegerField(blank=True, help_text="Empty: the plan's.", null=True)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='overrides', to='accounts.account')),
            ],
            options={
                'ordering': ['limit_name'],
                'constraints': [models.UniqueConstraint(fields=('account', 'limit_name'), name='override_once'), models.CheckConstraint(condition=models.Q(('amount__gte', 1)), name='override_amount_in_range')],
            },
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='key_has_a_name'),
        ),
        migrations.AddConstraint(
            model_name='importjob',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ('receiving', 'waiting', 'running', 'done'))), name='import_state_known'),
        ),
        migrations.AddIndex(
            model_name='importline',
            index=models.Index(fields=['job', 'outcome', 'number'], name='import_lines_by_outcome'),
        ),
        migrations.AddConstraint(
            model_name='importline',
            constraint=models.UniqueConstraint(fields=('job', 'number'), name='import_line_once'),
        ),
        migrations.AddConstraint(
            model_name='importline',
            constraint=models.CheckConstraint(condition=models.Q(('outcome__in', ('waiting', 'imported', 'already_there', 'refused'))), name='import_outcome_known'),
        ),
        migrations.AddConstraint(
            model_name='invitation',
            constraint=models.UniqueConstraint(models.F('account'), django.db.models.functions.text.Lower('email'), condition=models.Q(('accepted_at', None), ('withdrawn_at', None)), name='invited_once'),
        ),
        migrations.AddConstraint(
            model_name='invitation',
            constraint=models.CheckConstraint(condition=models.Q(('role__in', ('owner', 'admin', 'member', 'viewer'))), name='invited_role_known'),
        ),
        migrations.AddConstraint(
            model_name='keylimit',
            constraint=models.UniqueConstraint(fields=('key', 'name'), name='key_limit_name_once'),
        ),
        migrations.AddConstraint(
            model_name='keylimit',
            constraint=models.UniqueConstraint(models.F('key'), django.db.models.functions.comparison.Coalesce('model', 0), models.F('unit'), models.F('window'), name='key_limit_counter_once'),
        ),
        migrations.AddConstraint(
            model_name='keylimit',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gte', 1), models.Q(('amount__lte', 1000000), models.Q(('window__in', ('second', 'minute', 'hour')), _negated=True), _connector='OR'), ('amount__lte', 1000000000000)), name='key_limit_amount_in_range'),
        ),
        migrations.AddConstraint(
            model_name='keylimit',
            constraint=models.CheckConstraint(condition=models.Q(('burst__isnull', True), models.Q(('window__in', ('second', 'minute', 'hour')), ('burst__gte', 1), ('burst__lte', 1000000)), _connector='OR'), name='key_limit_burst_in_range'),
        ),
        migrations.AddConstraint(
            model_name='keylimit',
            constraint=models.CheckConstraint(condition=models.Q(('window__in', ('second', 'minute', 'hour', 'day', 'month'))), name='key_limit_window_known'),
        ),
        migrations.AddConstraint(
            model_name='keylimit',
            constraint=models.CheckConstraint(condition=models.Q(('unit__in', ('requests', 'units'))), name='key_limit_unit_known'),
        ),
        migrations.AddIndex(
            model_name='keysecret',
            index=models.Index(fields=['pepper'], name='secrets_by_pepper'),
        ),
        migrations.AddConstraint(
            model_name='membership',
            constraint=models.UniqueConstraint(fields=('account', 'user'), name='member_once'),
        ),
        migrations.AddConstraint(
            model_name='membership',
            constraint=models.CheckConstraint(condition=models.Q(('role__in', ('owner', 'admin', 'member', 'viewer'))), name='role_known'),
        ),
        migrations.AddConstraint(
            model_name='account',
            constraint=models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='account_has_a_name'),
        ),
    ]
