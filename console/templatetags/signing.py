"""What the pages of one's own sign-in ask for."""

from __future__ import annotations

from typing import Any

from allauth.usersessions.models import UserSession
from django import template

from console.signing.sessions import in_words

register = template.Library()


@register.simple_tag(takes_context=True)
def sessions_in_words(context: template.Context, sessions: list[UserSession]) -> list[dict[str, Any]]:
    return in_words(context["request"], sessions)
