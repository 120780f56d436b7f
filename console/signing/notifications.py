"""The page on which a person chooses which mails about keys, quotas and sign-ins they get."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.authority import MASTERS
from accounts.models import Membership, Topic, User
from accounts.notifications.recipients import choose_topics, has_confirmed_address, switched_off


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def notifications(request: HttpRequest) -> HttpResponse:
    user = request.user
    assert isinstance(user, User)
    if request.method == "POST":
        choose_topics(user, request.POST.getlist("topics"))
        messages.success(request, gettext("Your choice is saved."))
        return redirect("notifications")
    off = switched_off(user)
    context = {
        "topics": [{"value": topic.value, "title": topic.label, "is_on": topic not in off} for topic in Topic],
        "looks_after": Membership.objects.filter(user=user, role__in=MASTERS).exists(),
        "address": user.email,
        "is_confirmed": has_confirmed_address(user),
        "are_sent": settings.NOTIFICATIONS,
    }
    return render(request, "console/signing/notifications.html", context)
