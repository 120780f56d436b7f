"""The mail of an invitation. What tenants wrote is quoted, shortened, and cannot be clicked."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.conf import settings

from accounts.models import Invitation
from runtime.labels import escaped

LONGEST_LABEL = 60
# Mail programs turn schemes, hosts and addresses into links. With brackets around the separators they stay plain text.
_JOINTS = re.compile(r"(?<=\w)[:.@/。．｡](?=\S)")


def in_words(row: Invitation, link: str) -> tuple[str, str]:
    """Subject and text. The subject contains nothing from tenants, because people see it in a list and trust it."""
    host = urlsplit(settings.CONSOLE_URL).netloc
    text = (
        f"You are invited to an account at {host}, as {row.role}.\n\n"
        f"    Account:     {quoted(row.account.name)}, {row.account.public_id}\n"
        f"    Invited by:  {quoted(row.invited_by)}\n\n"
        "People there chose these two names; this service did not.\n\n"
        f"To join, open this link before {row.expires_at:%Y-%m-%d %H:%M} UTC:\n\n{link}\n\n"
        "Anyone who has the link can join with it, once. If you were not expecting this, ignore it.\n"
    )
    return f"Invitation to an account at {host}", text


def quoted(label: str) -> str:
    """The label on one line, quoted and without links: `"www[.]example[.]org"`."""
    line = escaped(" ".join(label.split())).replace('"', "'")
    cut = line if len(line) <= LONGEST_LABEL else f"{line[: LONGEST_LABEL - 1]}…"
    return '"' + _JOINTS.sub(r"[\g<0>]", cut) + '"'
