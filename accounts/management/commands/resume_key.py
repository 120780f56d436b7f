"""manage.py resume_key ID: let a paused key work again."""

from __future__ import annotations

from accounts.facts.publish import Publication
from accounts.management.one_key import OneKeyCommand
from accounts.models import ApiKey
from accounts.services.acts import Actor
from accounts.services.keys import resume_key


class Command(OneKeyCommand):
    help = 'Let a paused key work again. When this prints "done", its next request is decided as before the pause.'
    is_now = "resumed"

    def change(self, key: ApiKey, actor: Actor) -> Publication:
        return resume_key(key, actor=actor)
