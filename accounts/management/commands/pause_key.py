"""manage.py pause_key ID: pause a key until it is resumed."""

from __future__ import annotations

from accounts.facts.publish import Publication
from accounts.management.one_key import OneKeyCommand
from accounts.models import ApiKey
from accounts.services.acts import Actor
from accounts.services.keys import pause_key


class Command(OneKeyCommand):
    help = 'Pause a key. When this prints "done", its next request is refused, until you resume it.'
    is_now = "paused"

    def change(self, key: ApiKey, actor: Actor) -> Publication:
        return pause_key(key, actor=actor)
