from django.db import migrations, models


class Migration(migrations.Migration):
    """Limits per second, minute and hour of up to a billion."""

    why_the_version_before_works = "What it writes is within the wider ranges, and its script takes any amount, if less exactly."

    dependencies = [
        ('quotas', '0004_examples_and_offers'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='planlimit',
            name='limit_amount_in_range',
        ),
        migrations.RemoveConstraint(
            model_name='planlimit',
            name='limit_burst_in_range',
        ),
        migrations.AddConstraint(
            model_name='planlimit',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gte', 1), models.Q(('amount__lte', 1000000000), models.Q(('window__in', ('second', 'minute', 'hour')), _negated=True), _connector='OR'), ('amount__lte', 1000000000000)), name='limit_amount_in_range'),
        ),
        migrations.AddConstraint(
            model_name='planlimit',
            constraint=models.CheckConstraint(condition=models.Q(('burst__isnull', True), models.Q(('window__in', ('second', 'minute', 'hour')), ('burst__gte', 1), ('burst__lte', 1000000000)), _connector='OR'), name='limit_burst_in_range'),
        ),
    ]
