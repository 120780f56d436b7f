"""The addresses below /api/v1/."""

from __future__ import annotations

from django.urls import path, re_path, register_converter
from django.urls.converters import StringConverter

from api.accounts import Accounts, ByExternalId, OneAccount
from api.audit import Audit
from api.base.resource import Nothing
from api.catalogue import Models, Plans
from api.closing import Close, Export
from api.docs import docs, schema
from api.explain import Explain
from api.imports import ImportReport, Imports, OneImport
from api.keys import EndRotation, Key, Keys, Rotate
from api.limits import Limits
from api.management_keys import ManagementKeys, OneManagementKey
from api.me import Me
from api.members import Invitations, Member, Members, OneInvitation, Resend
from api.usage import Usage


class PublicId(StringConverter):
    regex = "[0-9A-Za-z]{16}"


class AccountId(StringConverter):
    regex = "[0-9A-Za-z]{8}"


register_converter(PublicId, "public_id")
register_converter(AccountId, "account_id")

urlpatterns = [
    path("me/", Me.as_view(), name="me"),
    path("accounts/", Accounts.as_view(), name="accounts"),
    path("accounts/by-external-id/<str:external_id>", ByExternalId.as_view(), name="account-by-external-id"),
    path("accounts/<account_id:id>/", OneAccount.as_view(), name="account"),
    path("accounts/<account_id:id>/export/", Export.as_view(), name="account-export"),
    path("accounts/<account_id:id>/close/", Close.as_view(), name="account-close"),
    path("accounts/<account_id:account>/members/", Members.as_view(), name="members"),
    path("accounts/<account_id:account>/members/<public_id:id>/", Member.as_view(), name="member"),
    path("accounts/<account_id:account>/invitations/", Invitations.as_view(), name="invitations"),
    path("accounts/<account_id:account>/invitations/<public_id:id>/", OneInvitation.as_view(), name="invitation-row"),
    path("accounts/<account_id:account>/invitations/<public_id:id>/resend/", Resend.as_view(), name="resend"),
    path("keys/", Keys.as_view(), name="keys"),
    path("keys/<public_id:id>/", Key.as_view(), name="key"),
    path("keys/<public_id:id>/rotate/", Rotate.as_view(), name="key-rotate"),
    path("keys/<public_id:id>/end-rotation/", EndRotation.as_view(), name="key-end-rotation"),
    path("management-keys/", ManagementKeys.as_view(), name="management-keys"),
    path("management-keys/<public_id:id>/", OneManagementKey.as_view(), name="management-key"),
    path("models/", Models.as_view(), name="models"),
    path("plans/", Plans.as_view(), name="plans"),
    path("imports/", Imports.as_view(), name="imports"),
    path("imports/<public_id:id>/", OneImport.as_view(), name="import"),
    path("imports/<public_id:id>/report/", ImportReport.as_view(), name="import-report"),
    path("usage/", Usage.as_view(), name="usage"),
    path("limits/", Limits.as_view(), name="limits"),
    path("explain/", Explain.as_view(), name="explain"),
    path("audit/", Audit.as_view(), name="audit"),
    path("schema/", schema, name="schema"),
    path("docs/", docs, name="docs"),
    re_path(r"", Nothing.as_view()),
]
