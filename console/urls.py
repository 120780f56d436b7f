"""The console's addresses. Each page of an account has the account's id in it, so that it can be bookmarked."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from console import frame, overview
from console.account import closing
from console.account import pages as account
from console.audit import audit
from console.catalogue import models
from console.keys import acts, issuing, listing, one
from console.team import acts as team_acts
from console.team import management_keys
from console.team import pages as team
from console.trying import pages as trying
from console.usage import pages as usage

_of_a_key = [
    path("", one.key, name="console_key"),
    path("change/", issuing.change, name="console_key_change"),
    path("rename/", acts.rename, name="console_key_rename"),
    path("rotate/", acts.rotate, name="console_key_rotate"),
    path("end-rotation/", acts.end, name="console_key_end_rotation"),
    path("pause/", acts.pause, name="console_key_pause"),
    path("resume/", acts.resume, name="console_key_resume"),
    path("revoke/", acts.revoke, name="console_key_revoke"),
]

_of_an_account: list[URLPattern | URLResolver] = [
    path("", overview.overview, name="console_overview"),
    path("keys/", listing.keys, name="console_keys"),
    path("keys/new/", issuing.new, name="console_key_new"),
    path("keys/<str:key_id>/", include(_of_a_key)),
    path("try/", trying.try_it, name="console_try"),
    path("try/key/", trying.make_key, name="console_try_key"),
    path("usage/", usage.usage, name="console_usage"),
    path("usage.csv", usage.csv, name="console_usage_csv"),
    path("models/", models, name="console_models"),
    path("team/", team.team, name="console_team"),
    path("team/invite/", team_acts.invite_person, name="console_invite"),
    path("team/invitations/<str:invitation_id>/resend/", team_acts.send_again, name="console_resend"),
    path("team/invitations/<str:invitation_id>/withdraw/", team_acts.take_back, name="console_withdraw"),
    path("team/management-keys/new/", management_keys.new, name="console_management_key_new"),
    path(
        "team/management-keys/<str:management_key_id>/revoke/",
        management_keys.revoke,
        name="console_management_key_revoke",
    ),
    path("team/<str:member_id>/", team.member, name="console_member"),
    path("team/<str:member_id>/role/", team_acts.give_role, name="console_role"),
    path("team/<str:member_id>/remove/", team_acts.remove, name="console_remove"),
    path("account/", account.account, name="console_account"),
    path("account/rename/", account.rename, name="console_account_rename"),
    path("account/close/", closing.close, name="console_account_close"),
    path("audit/", audit, name="console_audit"),
]

urlpatterns = [
    path("", frame.home, name="console"),
    path("theme/", frame.set_theme, name="console_theme"),
    path("language/", frame.set_language, name="console_language"),
    path("brand/<slug:version>.css", frame.brand_css, name="console_brand"),
    path("brand/<slug:version>/logo", frame.brand_logo, name="console_logo"),
    path("<str:account>/", include(_of_an_account)),
]
