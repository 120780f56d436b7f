"""The mailbox page for a service without a mail server: shows superusers what would have been sent."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis.exceptions import RedisError

from runtime.mailbox import MOST_MAILS, kept_mails


@never_cache
@require_safe
@login_required
def mailbox(request: HttpRequest) -> HttpResponse:
    """The links in these mails are other people's secrets, and staff could take anybody's user by them: so only
    superusers, who could do so anyway."""
    if not settings.MAILBOX:
        raise Http404
    if not getattr(request.user, "is_superuser", False):
        raise PermissionDenied
    try:
        mails = kept_mails()
    except RedisError:
        return render(request, "console/signing/away.html", status=503)
    return render(request, "console/signing/mailbox.html", {"mails": mails, "most": MOST_MAILS})
