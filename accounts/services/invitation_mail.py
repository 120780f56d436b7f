"""The mail of an invitation. What tenants wrote is quoted in it, cut, and cannot be clicked."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.conf import settings

from accounts.models import Invitation
from runtime.labels import escaped

LONGEST_LABEL = 60
# Mail programs make links of schemes, hosts and addresses. With their joints in brackets these are plain text.
_JOINTS = re.compile(r"(?<=\w)[:.@/。．｡](?=\S)")


def in_words(row: Invitation, link: str) -> tuple[str, str]:
    """Subject and text. The subject is ours alone: it is what people read in a list, and trust."""
    host = urlsplit(settings.CONSOLE_URL).netloc
    text = (
        f"You are invited to an account at {host}, as {row.role}.\n\n"
        f"    Account:     {quoted(row.account.name)}, {row.account.public_id}\n"
        f"    Invited by:  {quoted(row.invited_by)}\n\n"
        "These two names were written by people there, not by this service.\n\n"
        f"To join, open this link until {row.expires_at:%Y-%m-%d %H:%M} UTC:\n\n{link}\n\n"
        "Anyone who has the link can join with it, once. If you were not expecting this, ignore it.\n"
    )
    return f"Invitation to an account at {host}", text


def quoted(label: str) -> str:
    """A label on one line, in quotes, with no link in it: `"www[.]example[.]org"`."""
    line = escaped(" ".join(label.split())).replace('"', "'")
    cut = line if len(line) <= LONGEST_LABEL else f"{line[: LONGEST_LABEL - 1]}…"
    return '"' + _JOINTS.sub(r"[\g<0>]", cut) + '"'
