"""The frame around every page: who gets in, what stays shut, and what each answer has."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.models import User
from accounts.services.accounts import close_account, suspend_account
from accounts.services.credentials import make_management_key
from accounts.services.invitations import invite
from accounts.services.keys import issue_key
from accounts.services.roles import set_role
from console.colours import DARK_PAGE, LIGHT_PAGE, READABLE, accent_on, contrast
from tests.conftest import ACTOR
from tests.console.conftest import ROLES, person
from tests.console.test_policy import inline_in

pytestmark = pytest.mark.django_db(transaction=True)

# Which roles may open a page, and send a form. `None`: anybody of the account who may touch what it is about.
READERS: dict[str, set[str]] = {
    "console_overview": set(ROLES),
    "console_keys": set(ROLES),
    "console_key_new": {"owner", "admin", "member"},
    "console_key": set(ROLES),
    "console_key_change": {"owner", "admin"},
    "console_try": set(ROLES),
    "console_usage": set(ROLES),
    "console_usage_csv": set(ROLES),
    "console_models": set(ROLES),
    "console_team": set(ROLES),
    "console_member": {"owner", "admin"},
    "console_management_key_new": {"owner", "admin"},
    "console_account": set(ROLES),
    "console_audit": {"owner", "admin"},
}
WRITERS: dict[str, set[str]] = {
    "console_try_key": {"owner", "admin", "member"},
    "console_key_rename": {"owner", "admin"},
    "console_key_rotate": {"owner", "admin"},
    "console_key_end_rotation": {"owner", "admin"},
    "console_key_pause": {"owner", "admin"},
    "console_key_resume": {"owner", "admin"},
    "console_key_revoke": {"owner", "admin"},
    "console_management_key_revoke": {"owner", "admin"},
    "console_account_rename": {"owner", "admin"},
    "console_account_close": {"owner"},
}
# These lead back with a notice, whoever sends them; what they do is tested with the team.
OF_THE_TEAM = {"console_invite", "console_resend", "console_withdraw", "console_role", "console_remove"}


def routes(resolver: URLResolver | None = None, before: str = "/") -> Iterator[tuple[str, str]]:
    """Each page of an account: its name and its address."""
    for pattern in (resolver or get_resolver()).url_patterns:
        text = f"{before}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, text)
        elif isinstance(pattern, URLPattern) and "<str:account>" in text:
            yield str(pattern.name), text


ADDRESSES = dict(routes())


@pytest.fixture
def addresses(account, issued) -> dict[str, str]:
    """The address of every page, with rows that somebody else made."""
    member = person("mia", account, "member").user.memberships.get()  # type: ignore[attr-defined]
    invitation = invite(account, email="new@example.org", role="member", actor=ACTOR)
    management_key, _ = make_management_key(account, name="deploy", scopes=["keys:read"], actor=ACTOR)
    parts = {
        "account": account.public_id,
        "key_id": issued.key.public_id,
        "member_id": member.public_id,
        "invitation_id": invitation.public_id,
        "management_key_id": management_key.public_id,
    }
    return {name: re.sub(r"<str:(\w+)>", lambda part: parts[part[1]], text) for name, text in ADDRESSES.items()}


def test_every_address_is_in_the_tables():
    assert {*READERS, *WRITERS, *OF_THE_TEAM} == set(ADDRESSES)


@pytest.mark.parametrize("role", ROLES)
def test_each_role_opens_what_it_may_and_nothing_else(addresses, account, role):
    client = person(f"some-{role}", account, role)
    opened = {name for name in READERS if client.get(addresses[name]).status_code == 200}
    assert opened == {name for name, roles in READERS.items() if role in roles}
    assert {client.get(addresses[name]).status_code for name in set(READERS) - opened} <= {403}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sends_what_it_may_and_nothing_else(addresses, account, role):
    client = person(f"some-{role}", account, role)
    sent = {name for name in WRITERS if client.post(addresses[name]).status_code != 403}
    assert sent == {name for name, roles in WRITERS.items() if role in roles}


# The whole table: every page and form, for everybody who could be asking. What a role may not do is 403; to everybody
# outside of the account its pages look as if they did not exist.
OUTSIDERS = ("owner of another account", "superuser", "former owner")
ASKING = (*ROLES, *OUTSIDERS, "nobody")


def asking(who: str, account, pro_account) -> Client:
    match who:
        case "nobody":
            return Client()
        case "owner of another account":
            return person("eve", pro_account, "owner")
        case "superuser":
            return person("root", is_staff=True, is_superuser=True)
        case "former owner":
            client = person("olga", account, "owner")
            set_role(account, client.user, None, actor=ACTOR)  # type: ignore[attr-defined]
            return client
    return person(f"some-{who}", account, who)


def expected(name: str, who: str) -> set[int]:
    if who == "nobody":
        return {302}  # to the sign-in
    if who in OUTSIDERS:
        return {404}
    if name in OF_THE_TEAM:
        return {302}  # back, with a notice
    may = who in (READERS | WRITERS)[name]
    return ({200} if name in READERS else {200, 201, 302, 404, 409, 422}) if may else {403}


@pytest.mark.parametrize("who", ASKING)
def test_the_table_of_pages_and_people(addresses, account, pro_account, who):
    client, wrong = asking(who, account, pro_account), {}
    for name, address in addresses.items():
        answer = (client.get if name in READERS else client.post)(address)
        if answer.status_code not in expected(name, who):
            wrong[name] = answer.status_code
        if who == "nobody":
            assert answer["Location"].startswith("/login/?next=/console/"), name
        elif who in OUTSIDERS:
            assert account.name not in answer.content.decode(), name
    assert wrong == {}


@pytest.mark.parametrize("who", ["viewer", "member", *OUTSIDERS, "nobody"])
def test_forms_of_the_team_change_nothing_for_who_may_not_send_them(addresses, account, pro_account, who):
    def state() -> list[object]:
        return [
            *account.memberships.exclude(user__username="some-" + who).values_list("user__username", "role"),
            *account.invitations.values_list("email", "role", "withdrawn_at", "sendings"),
        ]

    client = asking(who, account, pro_account)
    before = state()
    for name in OF_THE_TEAM:
        client.post(addresses[name], {"role": "viewer", "email": "other@example.org", "keys": "revoke"})
    assert state() == before


def test_rows_of_another_account_are_404_on_pages_of_ones_own(addresses, account, pro_account):
    stranger = person("eve", pro_account, "owner")
    for name, address in addresses.items():
        if ADDRESSES[name].count("<") > 1:
            mine = address.replace(f"/{account.public_id}/", f"/{pro_account.public_id}/", 1)
            send = stranger.get if name in READERS else stranger.post
            assert send(mine).status_code == 404, name


def test_no_form_is_taken_without_its_token(addresses, account):
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("ada", account).user)  # type: ignore[attr-defined]
    for name in {*WRITERS, *OF_THE_TEAM, "console_key_new", "console_key_change", "console_management_key_new"}:
        assert client.post(addresses[name]).status_code == 403, name


def test_no_page_is_kept_or_has_anything_inline(addresses, owner):
    for name in READERS:
        answer = owner.get(addresses[name])
        assert "no-store" in answer["Cache-Control"], name
        if "html" in answer["Content-Type"]:
            assert not inline_in(answer.content.decode()), name
            assert "unsafe" not in answer["Content-Security-Policy"]


def test_every_page_has_landmarks_one_heading_and_labels(addresses, owner):
    for name in set(READERS) - {"console_usage_csv"}:
        html = owner.get(addresses[name]).content.decode()
        assert len(re.findall(r"<h1\b", html)) == len(re.findall(r"<main\b", html)) == 1, name
        assert '<html lang="en"' in html and 'href="#content"' in html and 'aria-current="page"' in html
        assert len(re.findall(r"<title>[^<]+ · authsvc</title>", html)) == 1
        ids = re.findall(r'\bid="([^"]+)"', html)
        assert len(ids) == len(set(ids)), (name, ids)
        for field in re.findall(r"<(?:input|select|textarea)\b[^>]*>", html):
            if re.search(r'type="(?:hidden|radio|checkbox)"', field):
                continue
            label = re.search(r'\bid="([^"]+)"', field)
            assert "aria-label=" in field or (
                label and f'<label for="{label[1]}"' in html.replace('class="sr" ', "").replace(' class="small"', "")
            ), (name, field)


@pytest.mark.parametrize(
    "name",
    [
        "console_overview",
        "console_keys",
        "console_usage",
        "console_team",
        "console_audit",
        "console_models",
        "console_account",
    ],
)
def test_a_list_costs_the_same_number_of_queries_however_long_it_is(addresses, account, owner, used, name):
    def queries() -> int:
        owner.get(addresses[name])
        with CaptureQueriesContext(connection) as asked:
            assert owner.get(addresses[name]).status_code == 200
        return len(asked)

    used(issue_key(account, name="used", actor=ACTOR).key, refused=1)
    before = queries()
    for number in range(12):
        used(issue_key(account, name=f"k{number}", actor=ACTOR).key, refused=1)
        person(f"p{number}", account, "viewer")
    assert queries() == before <= 22


# Where signing in leads to


def test_signing_in_leads_to_the_only_account(account):
    person("mia", account, "viewer", password="a long password")
    client = Client()
    signed_in = client.post("/login/", {"username": "mia", "password": "a long password"}, follow=True)
    assert signed_in.redirect_chain[-1][0] == f"/console/{account.public_id}/"


def test_signing_in_leads_to_the_account_that_was_open_last(account, pro_account):
    client = person("mia", account, "viewer")
    person("mia", pro_account, "viewer")
    for one in (account, pro_account):
        client.get(f"/console/{one.public_id}/")
    assert client.get("/console/")["Location"] == f"/console/{pro_account.public_id}/"
    page = client.get(f"/console/{pro_account.public_id}/").content.decode()
    assert f'href="/console/{account.public_id}/"' in page  # the switcher


def test_a_person_without_an_account_is_told_what_to_do(settings):
    settings.SUPPORT = "mailto:help@example.org"
    page = person("mia").get("/console/").content.decode()
    assert "Ask one of its owners or admins to invite you" in page
    assert "mailto:help@example.org" in page and "/admin/" not in page


def test_staff_are_shown_the_way_to_the_admin(account):
    User.objects.create_superuser("root")
    assert 'href="/admin/"' in person("root", account).get(f"/console/{account.public_id}/").content.decode()


def test_the_console_and_the_pages_of_ones_own_sign_in_lead_to_each_other(account, owner):
    security = reverse("mfa_index")
    assert f'href="{security}"' in owner.get(f"/console/{account.public_id}/").content.decode()
    page = owner.get(security).content.decode()
    assert f'href="/console/{account.public_id}/keys/"' in page and 'aria-label="Main"' in page  # the same frame


def test_people_without_an_account_see_the_pages_of_their_sign_in_alone():
    page = person("olga").get(reverse("mfa_index")).content.decode()
    assert f'href="{reverse("console")}"' in page and 'aria-label="Main"' not in page


def test_the_admin_leads_to_the_pages_of_ones_own_sign_in(operator):
    page = operator.get("/admin/").content.decode()
    assert f'href="{reverse("mfa_index")}"' in page
    assert 'href="/mailbox/"' not in page  # there is a mail server


def test_signing_out_leads_to_the_door(owner):
    assert owner.post("/logout/")["Location"] == "/login/"
    assert owner.get("/console/").status_code == 302


@pytest.mark.parametrize(("act", "said"), [(suspend_account, "is suspended"), (close_account, "is closed")])
def test_every_page_says_when_the_account_is_shut(account, owner, act, said):
    act(account, actor=ACTOR)
    assert said in owner.get(f"/console/{account.public_id}/keys/").content.decode()


# Brand and theme


@pytest.mark.parametrize("colour", ["#ffff00", "#000000", "#ffffff", "#3451d1", "#00ff88", "#777777"])
@pytest.mark.parametrize("page", [LIGHT_PAGE, DARK_PAGE])
def test_any_colour_of_an_operator_is_readable(colour, page):
    accent = accent_on(page, colour)
    assert contrast(accent.colour, page) >= READABLE
    assert contrast(accent.text, accent.colour) >= READABLE


def test_a_colour_that_is_readable_stays_as_it_is():
    assert accent_on(LIGHT_PAGE, "#3451d1").colour == "#3451d1"


def test_pages_carry_the_operators_name_colour_and_support_address(settings, account, owner):
    settings.BRAND_NAME, settings.BRAND_COLOUR, settings.SUPPORT = "Example & Sons", "#0f766e", "https://help.example"
    page = owner.get(f"/console/{account.public_id}/keys/").content.decode()
    assert "<title>Keys · Example &amp; Sons</title>" in page and 'href="https://help.example"' in page
    (css,) = re.findall(r'href="(/console/brand/\w+\.css)"', page)
    answer = owner.get(css)
    assert "light-dark(#0f766e," in answer.content.decode() and "immutable" in answer["Cache-Control"]
    settings.BRAND_COLOUR = "#0f766f"
    assert css not in owner.get(f"/console/{account.public_id}/keys/").content.decode()


def test_a_logo_is_served_as_a_file_of_ours(settings, tmp_path):
    from console import branding

    (tmp_path / "logo.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert Client().get("/console/brand/x/logo").status_code == 404
    settings.BRAND_LOGO = branding.logo("logo.svg", tmp_path)
    page = Client().get("/login/").content.decode()
    (path,) = set(re.findall(r'"(/console/brand/\w+/logo)"', page))
    answer = Client().get(path)
    assert (answer["Content-Type"], answer["X-Content-Type-Options"]) == ("image/svg+xml", "nosniff")
    assert "default-src 'none'" in answer["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("theme", "shown"), [("dark", 'data-theme="dark"'), ("light", 'data-theme="light"'), ("x", "")]
)
def test_a_choice_of_light_or_dark_is_remembered(theme, shown):
    client = Client()
    answer = client.post("/console/theme/", {"theme": theme, "back": "/login/"})
    assert answer["Location"] == "/login/"
    (tag,) = re.findall(r"<html[^>]*>", client.get("/login/").content.decode())
    assert tag == f'<html lang="en"{" " if shown else ""}{shown}>'


def test_choosing_a_theme_leads_nowhere_else():
    answer = Client().post("/console/theme/", {"theme": "dark", "back": "https://evil.example/"})
    assert answer["Location"] == "/console/"


def test_no_script_reads_what_was_chosen_and_no_other_site_sends_it():
    cookie = Client().post("/console/theme/", {"theme": "dark", "back": "/login/"}).cookies["theme"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
