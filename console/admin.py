"""No admin pages for what signing in keeps: to edit somebody's confirmed address is to take over their user.

The forms of people (accounts/admin/people.py) ask who outranks whom; allauth's own pages do not.
"""

from __future__ import annotations

from allauth.account import admin as _account  # registered there
from allauth.account.models import EmailAddress
from allauth.mfa import admin as _factors
from allauth.mfa.models import Authenticator
from allauth.socialaccount import admin as _providers
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions import admin as _sessions
from allauth.usersessions.models import UserSession
from django.contrib import admin

assert _account and _factors and _providers and _sessions
admin.site.unregister([EmailAddress, Authenticator, SocialAccount, SocialApp, SocialToken, UserSession])
