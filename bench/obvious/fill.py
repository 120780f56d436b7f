"""python -m bench.obvious.fill FILE COUNT: people with tokens, in a group that may use the model."""

from __future__ import annotations

import sys
from pathlib import Path


def main(file: str, count: int) -> None:
    import django

    django.setup()
    from django.contrib.auth.models import Group, Permission, User
    from django.contrib.contenttypes.models import ContentType
    from django.core.management import call_command
    from rest_framework.authtoken.models import Token

    call_command("migrate", verbosity=0)
    group = Group.objects.create(name="customers")
    group.permissions.add(
        Permission.objects.create(
            codename="use_en_core_web_sm", name="Use it", content_type=ContentType.objects.get_for_model(User)
        )
    )
    tokens = []
    for number in range(count):
        user = User.objects.create_user(f"customer-{number}")
        user.groups.add(group)
        tokens.append(Token.objects.create(user=user).key)
    Path(file).write_text("\n".join(tokens) + "\n", encoding="ascii")
    print("{}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
