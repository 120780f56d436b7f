"""What a person gets at their first sign-in."""

from __future__ import annotations

import logging

from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest
from django.utils import translation

from accounts.models import Account, Membership, User
from accounts.refused import Refused
from accounts.services.accounts import create_account
from accounts.services.acts import Actor
from accounts.services.roles import set_role
from console.languages import WRITTEN_IN
from quotas.models import Catalogue

log = logging.getLogger(__name__)

OWN_ACCOUNT = "owner"


def let_in(request: HttpRequest, user: User) -> None:
    """Sign in a person who has just created their user through a link, and list the session as theirs."""
    login(request, user)
    UserSession.objects.create_from_request(request)


def keep_address(user: User, email: str) -> None:
    """Confirm the address that the link was mailed to, unless someone else has confirmed it before."""
    email = email.lower()
    if not EmailAddress.objects.filter(email=email, verified=True).exists():
        EmailAddress.objects.update_or_create(user=user, email=email, defaults={"verified": True, "primary": True})


def give_account(request: HttpRequest, user: User) -> Account | None:
    """Their own account on the default plan. None if there is no such plan, or if they already belong to an account."""
    if Membership.objects.filter(user=user).exists():
        return None
    catalogue = Catalogue.objects.select_related("default_plan").filter(pk=1).first()
    if catalogue is None or catalogue.default_plan is None:
        log.error("%s signed up and got no account: the catalogue has no default_plan", user.get_username())
        return None
    name = (user.email or user.get_username()).partition("@")[0]
    actor = Actor(user.get_username(), Actor.address_of(request), user)
    return create_account(name, catalogue.default_plan, actor=actor, owner=user)[0]


def place(request: HttpRequest, user: User) -> None:
    """Give a person from the identity provider the role that the settings name."""
    if settings.OIDC_ROLE == OWN_ACCOUNT:
        give_account(request, user)
    elif settings.OIDC_ROLE != "none":
        account = Account.objects.filter(external_id=settings.OIDC_ACCOUNT).first()
        if account is None or account.closed_at:
            log.error("there is no open account %r for people of the identity provider", settings.OIDC_ACCOUNT)
            return
        actor = Actor("identity provider", Actor.address_of(request))
        try:
            with translation.override(WRITTEN_IN):  # a refusal goes to the log
                set_role(account, user, settings.OIDC_ROLE, actor=actor)
        except Refused as error:
            log.error("%s came in and joined no account: %s", user.get_username(), error)
