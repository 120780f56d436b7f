"""One key of an account, as its page needs it."""

from __future__ import annotations

from django.http import Http404

from accounts.models import ApiKey
from console.seat import Seat


def find_key(seat: Seat, public_id: str) -> ApiKey:
    """The key with its account's plan and its secrets. Keys of other accounts are 404."""
    rows = ApiKey.objects.select_related("account__plan", "created_by").prefetch_related("secrets")
    key = rows.filter(account=seat.account, public_id=public_id).first()
    if key is None:
        raise Http404
    return key
