"""What lives on of a key's old secrets when it is rotated again and again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import AuditEvent
from accounts.services.keys import end_rotation, rotate_key
from tests.conftest import ACTOR


def living(key):
    now = timezone.now()
    return [secret.start for secret in key.secrets.all() if secret.expires_at is None or secret.expires_at > now]


def test_a_second_rotation_without_a_grace_ends_the_longer_grace_of_the_first(issued):
    rotate_key(issued.key, grace=timedelta(days=7), actor=ACTOR)
    newest = rotate_key(issued.key, grace=timedelta(0), actor=ACTOR)
    assert issued.key.secrets.filter(expires_at=None).count() == 1
    assert len(living(issued.key)) == 1 and newest.text.startswith(living(issued.key)[0])


def test_a_second_rotation_with_a_shorter_grace_shortens_the_first(issued):
    rotate_key(issued.key, grace=timedelta(days=7), actor=ACTOR)
    rotate_key(issued.key, grace=timedelta(hours=1), actor=ACTOR)
    ends = [secret.expires_at for secret in issued.key.secrets.exclude(expires_at=None)]
    assert ends and max(ends) <= timezone.now() + timedelta(hours=1)


def test_a_second_rotation_with_a_longer_grace_lengthens_nothing(issued):
    rotate_key(issued.key, grace=timedelta(hours=1), actor=ACTOR)
    first = issued.key.secrets.exclude(expires_at=None).get()
    rotate_key(issued.key, grace=timedelta(days=7), actor=ACTOR)
    assert issued.key.secrets.get(pk=first.pk).expires_at <= first.expires_at


@pytest.mark.parametrize("grace", [timedelta(days=7), timedelta(seconds=1)])
def test_an_ended_rotation_leaves_the_newest_secret_alone_and_is_written_down(issued, grace):
    newest = rotate_key(issued.key, grace=grace, actor=ACTOR)
    end_rotation(issued.key, actor=ACTOR)
    assert len(living(issued.key)) == 1 and newest.text.startswith(living(issued.key)[0])
    assert AuditEvent.objects.filter(act="key.end_rotation", subject=issued.key.public_id).count() == 1
