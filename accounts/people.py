"""User names that the version before wrote, folded so that they are found whatever the case that they are typed in."""

from __future__ import annotations

from accounts.models import User, caseless

_ON_A_SWEEP = 1000


def fold_usernames() -> int:
    """Fold those that are not yet, and whose like nobody has; their number."""
    done = 0
    for user in User.objects.filter(folded_username=None).order_by("pk")[:_ON_A_SWEEP]:
        folded = caseless(user.username)
        if not User.objects.filter(folded_username=folded).exists():
            done += User.objects.filter(pk=user.pk, folded_username=None).update(folded_username=folded)
    return done
