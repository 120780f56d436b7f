"""The mail of an invitation. What tenants wrote is quoted, shortened, and cannot be clicked."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext

from accounts.models import Invitation
from runtime.figures import full
from runtime.labels import escaped

LONGEST_LABEL = 60
# Mail programs turn schemes, hosts and addresses into links. With brackets around the separators they stay plain text.
_JOINTS = re.compile(r"(?<=\w)[:.@/。．｡](?=\S)")


def in_words(row: Invitation, link: str) -> tuple[str, str]:
    """Subject and text. The subject contains nothing from tenants, because people see it in a list and trust it."""
    words = {
        "host": urlsplit(settings.CONSOLE_URL).netloc,
        "role": row.get_role_display(),
        "account": f"{quoted(row.account.name)}, {row.account.public_id}",
        "who": quoted(row.invited_by),
        "until": full(row.expires_at),
    }
    parts = (
        gettext("You are invited to an account at %(host)s, with the role “%(role)s”."),
        gettext("    Account:     %(account)s\n    Invited by:  %(who)s"),
        gettext("People there chose these two names; this service did not."),
        gettext("To join, open this link before %(until)s:"),
        link.replace("%", "%%"),
        gettext("Anyone who has the link can join with it, once. If you were not expecting this, ignore it."),
    )
    subject = gettext("Invitation to an account at %(host)s") % words
    return subject, "\n\n".join(part % words for part in parts) + "\n"


def quoted(label: str) -> str:
    """The label on one line, quoted and without links: `"www[.]example[.]org"`."""
    line = escaped(" ".join(label.split())).replace('"', "'")
    cut = line if len(line) <= LONGEST_LABEL else f"{line[: LONGEST_LABEL - 1]}…"
    return '"' + _JOINTS.sub(r"[\g<0>]", cut) + '"'
