"""manage.py revoke_key ID: revoke a key permanently."""

from __future__ import annotations

from accounts.facts.publish import Publication
from accounts.management.one_key import OneKeyCommand
from accounts.models import ApiKey
from accounts.services.acts import Actor
from accounts.services.keys import revoke_key


class Command(OneKeyCommand):
    help = 'Revoke a key. When this prints "done", its next request is refused.'
    is_now = "revoked"

    def change(self, key: ApiKey, actor: Actor) -> Publication:
        return revoke_key(key, actor=actor)
