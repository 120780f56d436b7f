"""Every form and action of the admin, and what the next request gets: of the gate, and where it knows nothing of it, of
the console or the REST API. The test finds the forms itself, so a new one without a walk fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from accounts.models import Account, ApiKey, ManagementKey, Membership, OperatorToken, User
from accounts.services.accounts import close_account, suspend_account
from accounts.services.credentials import MANAGEMENT_SCOPES, make_management_key, make_operator_token
from accounts.services.keys import pause_key, rotate_key
from accounts.services.roles import set_role
from quotas.models import Catalogue, Plan, ServedModel
from tests.accounts.admin.test_admin import KEY, list_of, page_of
from tests.accounts.forms import send
from tests.api.callers import bearer, signed_in
from tests.conftest import ACTOR
from tests.gate.conftest import question

pytestmark = pytest.mark.django_db(transaction=True)


class World:
    """olga at the admin, ada at the console of her account, and vera, who may see keys in the admin."""

    def __init__(self, operator: Client, issued: Any, redis_db: Any) -> None:
        self.operator, self.text, self.redis = operator, issued.text, redis_db
        self.ada, self.vera = User.objects.create_user("ada"), User.objects.create_user("vera", is_staff=True)
        set_role(issued.key.account, self.ada, "owner", actor=ACTOR)
        group = Group.objects.create(name="support")
        group.permissions.set(Permission.objects.filter(codename="view_apikey"))
        self.vera.groups.add(group)
        self.program, self.integration = (
            make_management_key(self.account, name="ci", scopes=MANAGEMENT_SCOPES, actor=ACTOR)[1],
            make_operator_token(name="shop", scopes=["accounts:write", "plans:assign"], actor=ACTOR)[1],
        )
        self.pages = {name: signed_in(getattr(self, name)) for name in ("ada", "vera")}

    @property
    def key(self) -> ApiKey:
        return ApiKey.objects.earliest("pk")

    @property
    def account(self) -> Account:
        return Account.objects.get(name="acme")

    def gate(self, uri: str = "/sm/", text: str | None = None) -> int:
        headers = dict(question(text or self.text, x_forwarded_uri=uri))
        return Client().get("/auth/", headers=headers).status_code

    def console(self, path: str = "") -> Any:
        return self.pages["ada"].get(f"/console/{self.account.public_id}/{path}")

    def api(self, path: str, text: str | None = None, **body: Any) -> Any:
        client = bearer(text or self.program)
        url = f"/api/v1/{path}"
        return client.post(url, body, content_type="application/json") if body else client.get(url)


Seen = Callable[[World], Any]
Step = Callable[[World], Any]


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What a request gets before and after. `first` prepares what the act is about."""

    seen: Seen
    before: Any = 200
    act: Step
    after: Any
    first: Step = lambda world: None


# What requests see.


def at_the_gate(world: World) -> int:
    return world.gate()


def twice(world: World) -> list[int]:
    return [world.gate(), world.gate()]


def is_refused_soon(world: World) -> bool:
    return 429 in twice(world)


def of_the_large_model(world: World) -> int:
    return world.gate("/v1/large")


def on_the_page(path: str, text: str) -> Seen:
    return lambda world: text in world.console(path).content.decode()


def of_the_key(field: str) -> Seen:
    return lambda world: world.api(f"keys/{world.key.public_id}/").json()[field]


def of_the_account(field: str) -> Seen:
    return lambda world: world.api(f"accounts/{world.account.public_id}/", world.integration).json()[field]


def a_new_key(world: World) -> int:
    return int(world.api("keys/", name="another").status_code)


def a_new_account(world: World) -> str:
    """The plan of an account that a shop makes without naming one."""
    path = f"/api/v1/accounts/by-external-id/c-{Account.objects.count()}"
    client = bearer(world.integration)
    return str(client.put(path, {"name": "shop"}, content_type="application/json").json().get("plan"))


def keys_in_the_admin(world: World) -> int:
    return int(world.pages["vera"].get("/admin/accounts/apikey/").status_code)


def in_the_console(world: World) -> int:
    return int(world.console().status_code)


def by_the_program(world: World) -> int:
    return int(world.api("keys/").status_code)


def by_the_integration(world: World) -> int:
    return int(world.api("accounts/", world.integration).status_code)


# What operators do.


def to_key(act: str = "change", **filled: Any) -> Step:
    return lambda world: send(world.operator, page_of(world.key, act), **filled)


def to_account(act: str = "change", **filled: Any) -> Step:
    return lambda world: send(world.operator, page_of(world.account, act), **filled)


def to_model(**filled: Any) -> Step:
    return lambda world: send(world.operator, page_of(ServedModel.objects.get(slug="sm")), **filled)


def to_plan(**filled: Any) -> Step:
    return lambda world: send(world.operator, page_of(Plan.objects.get(name="free")), **filled)


def to_person(name: str, act: str = "change", **filled: Any) -> Step:
    return lambda world: send(world.operator, page_of(User.objects.get(username=name), act), **filled)


def to_group(act: str = "change", **filled: Any) -> Step:
    return lambda world: send(world.operator, page_of(Group.objects.get(), act), **filled)


def selected(model: Any, action: str, which: Callable[[], Any], **more: str) -> Step:
    return lambda world: world.operator.post(
        list_of(model), {"action": action, "_selected_action": [which().pk], **more}
    )


def remove(which: Callable[[], Any]) -> Step:
    return lambda world: world.operator.post(page_of(which(), "delete"), {"post": "yes"})


def adas_membership() -> Membership:
    return Membership.objects.get(user__username="ada")


def issue_in_the_admin(world: World) -> None:
    page = send(world.operator, list_of(ApiKey, "add"), for_account=world.account.pk, name="second")
    world.text = KEY.search(page.content.decode())[0]  # type: ignore[index]


def rotate_in_the_admin(world: World) -> None:
    page = send(world.operator, page_of(world.key, "rotate"), grace=1)
    world.text = KEY.search(page.content.decode())[0]  # type: ignore[index]


def with_a_secret_made_up(world: World) -> None:
    world.text = "nothing"


def rotated(world: World) -> None:
    """The old secret, in its grace."""
    rotate_key(world.key, grace=timedelta(hours=1), actor=ACTOR)


def created(kind: str, model: Any, **filled: Any) -> Step:
    def create(world: World) -> None:
        more = {"account": world.account.pk} if model is ManagementKey else {}
        page = send(world.operator, list_of(model, "add"), name="new", **more, **filled)
        setattr(world, kind, re.search(r'value="(ask[a-z]*_[0-9A-Za-z_]+)"', page.content.decode())[1])  # type: ignore[index]

    return create


def forget(kind: str) -> Step:
    return lambda world: setattr(world, kind, "nothing")


def to_the_larger_plan(world: World) -> None:
    to_account("plan", plan=Plan.objects.get(name="pro").pk)(world)


def only_the_large_model(world: World) -> None:
    to_plan(served_models=[ServedModel.objects.get(slug="lg").pk])(world)


def new_model_in(plan: str) -> Step:
    def include(world: World) -> None:
        model = ServedModel.objects.get(slug="lg")
        world.operator.post(reverse("admin:quotas_servedmodel_include", args=[model.pk]), {"plan": plan})

    return include


def on_pro_without(world: World) -> None:
    """The account on the plan with every model, which leaves the large one out."""
    to_the_larger_plan(world)
    send(world.operator, page_of(ServedModel.objects.get(slug="lg")), auto_include=None)


def pause(world: World) -> None:
    pause_key(world.key, actor=ACTOR)


def a_limit(prefix: str, **more: Any) -> dict[str, Any]:
    row = {"name": "tight", "amount": 1, "window": "month", "unit": "requests", **more}
    return {f"{prefix}-TOTAL_FORMS": 1, **{f"{prefix}-0-{name}": value for name, value in row.items()}}


def an_account_in_the_admin(world: World) -> None:
    send(world.operator, list_of(Account, "add"), name="Globex", plan=Plan.objects.get(name="free").pk)


def is_an_account(name: str) -> Seen:
    return lambda world: name in str(world.api("accounts/", world.integration).json())


def added_model(world: World) -> None:
    send(world.operator, list_of(ServedModel, "add"), slug="xl", path="/xl")


def added_plan(world: World) -> None:
    models = [ServedModel.objects.get(slug="lg").pk]
    send(world.operator, list_of(Plan, "add"), name="team", served_models=models)
    send(world.operator, page_of(world.account, "plan"), plan=Plan.objects.get(name="team").pk)


def permission(codename: str) -> int:
    return int(Permission.objects.get(codename=codename).pk)


def permit_vera(world: World) -> None:
    to_person("vera", user_permissions=[permission("view_apikey")])(world)


def without_the_group(world: World) -> None:
    world.vera.groups.clear()


def make_member(world: World) -> None:
    send(
        world.operator,
        list_of(Membership, "add"),
        account=world.account.pk,
        user=User.objects.get(username="ada").pk,
        role="viewer",
    )


def not_a_member(world: World) -> None:
    set_role(world.account, User.objects.create_user("boss"), "owner", actor=ACTOR)
    set_role(world.account, world.ada, None, actor=ACTOR)


def with_another_owner(world: World) -> None:
    set_role(world.account, User.objects.create_user("boss"), "owner", actor=ACTOR)


def without_members(world: World) -> None:
    row = {"memberships-0-DELETE": "on"}
    send(world.operator, page_of(world.account), **row)


def of_a_credential(model: Any) -> Step:
    return lambda world: world.operator.post(page_of(model.objects.first(), "revoke"))


def enters(name: str, password: str) -> Seen:
    return lambda world: Client().login(username=name, password=password)


def added_person(world: World) -> None:
    filled = {"password1": "correct horse battery", "password2": "correct horse battery", "usable_password": "true"}
    send(world.operator, list_of(User, "add"), username="nick", **filled)


def new_password(world: World) -> None:
    filled = {"password1": "another horse battery", "password2": "another horse battery", "usable_password": "true"}
    send(world.operator, reverse("admin:auth_user_password_change", args=[world.ada.pk]), **filled)


def added_group(world: World) -> None:
    send(world.operator, list_of(Group, "add"), name="night", permissions=[permission("view_apikey")])
    to_person("vera", groups=[Group.objects.get(name="night").pk])(world)


OVERRIDE: dict[str, Any] = {"overrides-TOTAL_FORMS": 1, "overrides-0-limit_name": "month", "overrides-0-amount": 1}
PLAN_LIMIT: dict[str, Any] = {"limits-0-amount": 1, "limits-0-burst": 1}
AUDIENCE: dict[str, Any] = {"seen": in_the_console, "first": with_another_owner, "after": 404}
WALKS: dict[str, Walk] = {
    # Keys
    "ApiKey add": Walk(first=with_a_secret_made_up, seen=at_the_gate, before=401, act=issue_in_the_admin, after=200),
    "ApiKey.name": Walk(seen=of_the_key("name"), before="first", act=to_key(name="renamed"), after="renamed"),
    "ApiKey.models": Walk(seen=at_the_gate, act=to_key(models=["lg"]), after=403),
    "ApiKey.networks": Walk(seen=at_the_gate, act=to_key(networks="192.0.2.0/24"), after=403),
    "ApiKey.methods": Walk(seen=at_the_gate, act=to_key(methods=["DELETE"]), after=403),
    "ApiKey.expires_at": Walk(
        seen=at_the_gate, act=to_key(expires_at_0="2020-01-01", expires_at_1="00:00:00"), after=401
    ),
    "ApiKey.metadata": Walk(seen=of_the_key("metadata"), before={}, act=to_key(metadata='{"a": 1}'), after={"a": 1}),
    "ApiKey: KeyLimit": Walk(seen=twice, before=[200, 200], act=to_key(**a_limit("limits")), after=[200, 429]),
    "ApiKey rotate": Walk(seen=at_the_gate, act=to_key("rotate", grace=0), after=401),
    "ApiKey rotate (the new secret)": Walk(
        first=with_a_secret_made_up, seen=at_the_gate, before=401, act=rotate_in_the_admin, after=200
    ),
    "ApiKey end-rotation": Walk(first=rotated, seen=at_the_gate, act=to_key("end-rotation"), after=401),
    "ApiKey pause": Walk(seen=at_the_gate, act=to_key("pause"), after=401),
    "ApiKey resume": Walk(first=pause, seen=at_the_gate, before=401, act=to_key("resume"), after=200),
    "ApiKey revoke": Walk(seen=at_the_gate, act=to_key("revoke"), after=401),
    "ApiKey revoke_selected": Walk(
        seen=at_the_gate,
        act=selected(ApiKey, "revoke_selected", lambda: ApiKey.objects.earliest("pk"), confirmed="1"),
        after=401,
    ),
    # Accounts
    "Account add": Walk(seen=is_an_account("Globex"), before=False, act=an_account_in_the_admin, after=True),
    "Account.external_id": Walk(
        seen=of_the_account("external_id"), before="acme", act=to_account(external_id="c-7"), after="c-7"
    ),
    "Account.max_keys": Walk(seen=a_new_key, before=201, act=to_account(max_keys=1), after=409),
    "Account: AccountOverride": Walk(
        seen=at_the_gate,
        act=to_account(**OVERRIDE),
        after=429,
    ),
    "Account: Membership": Walk(**AUDIENCE, act=without_members),
    "Account plan": Walk(seen=of_the_large_model, before=403, act=to_the_larger_plan, after=200),
    "Account suspend": Walk(seen=at_the_gate, act=to_account("suspend"), after=403),
    "Account resume": Walk(
        first=lambda world: suspend_account(world.account, actor=ACTOR),
        seen=at_the_gate,
        before=403,
        act=to_account("resume"),
        after=200,
    ),
    "Account close": Walk(seen=at_the_gate, act=to_account("close"), after=403),
    "Account reopen": Walk(
        first=lambda world: close_account(world.account, actor=ACTOR),
        seen=at_the_gate,
        before=403,
        act=to_account("reopen"),
        after=200,
    ),
    # The catalogue
    "ServedModel add": Walk(
        first=to_the_larger_plan, seen=lambda world: world.gate("/xl"), before=403, act=added_model, after=200
    ),
    "ServedModel.path": Walk(seen=at_the_gate, act=to_model(path="/elsewhere"), after=403),
    "ServedModel.title": Walk(
        seen=on_the_page("models/", "Tiny and quick"), before=False, act=to_model(title="Tiny and quick"), after=True
    ),
    "ServedModel.cost": Walk(seen=at_the_gate, act=to_model(cost=1000), after=429),
    "ServedModel.enabled": Walk(seen=at_the_gate, act=to_model(enabled=None), after=403),
    "ServedModel.auto_include": Walk(
        first=to_the_larger_plan,
        seen=of_the_large_model,
        act=lambda world: send(world.operator, page_of(ServedModel.objects.get(slug="lg")), auto_include=None),
        after=403,
    ),
    "ServedModel.example": Walk(
        seen=on_the_page("models/", "Ada Lovelace"),
        before=False,
        act=to_model(example='{"path": "/ner", "body": {"text": "Ada Lovelace"}}'),
        after=True,
    ),
    "ServedModel include": Walk(seen=of_the_large_model, before=403, act=new_model_in("free"), after=200),
    "ServedModel include (in every plan)": Walk(
        first=on_pro_without, seen=of_the_large_model, before=403, act=new_model_in(""), after=200
    ),
    "ServedModel include_in_every": Walk(
        first=on_pro_without,
        seen=of_the_large_model,
        before=403,
        act=selected(ServedModel, "include_in_every", lambda: ServedModel.objects.get(slug="lg")),
        after=200,
    ),
    "Plan add": Walk(seen=of_the_large_model, before=403, act=added_plan, after=200),
    "Plan.title": Walk(seen=on_the_page("account/", "Zebra"), before=False, act=to_plan(title="Zebra"), after=True),
    "Plan.all_models": Walk(seen=of_the_large_model, before=403, act=to_plan(all_models="on"), after=200),
    "Plan.served_models": Walk(seen=at_the_gate, act=only_the_large_model, after=403),
    "Plan.max_keys": Walk(seen=a_new_key, before=201, act=to_plan(max_keys=1), after=409),
    "Plan.offered": Walk(
        first=lambda world: send(world.operator, page_of(Plan.objects.get(name="pro")), title="Zebra"),
        seen=on_the_page("account/", "Zebra"),
        before=False,
        act=lambda world: send(world.operator, page_of(Plan.objects.get(name="pro")), offered="on"),
        after=True,
    ),
    # What was used before may have drained while the form was saved.
    "Plan: PlanLimit": Walk(seen=is_refused_soon, before=False, act=to_plan(**PLAN_LIMIT), after=True),
    "Catalogue.default_plan": Walk(
        seen=a_new_account,
        before="free",
        act=lambda world: send(
            world.operator, page_of(Catalogue.objects.get()), default_plan=Plan.objects.get(name="pro").pk
        ),
        after="pro",
    ),
    # People, who meet the console and the admin, not the gate
    "User add": Walk(seen=enters("nick", "correct horse battery"), before=False, act=added_person, after=True),
    "User auth_user_password_change": Walk(
        seen=enters("ada", "another horse battery"), before=False, act=new_password, after=True
    ),
    "User.language": Walk(
        seen=on_the_page("", '<html lang="fr"'), before=False, act=to_person("ada", language="fr"), after=True
    ),
    "User.is_active": Walk(seen=in_the_console, act=to_person("ada", is_active=None), after=302),
    "User.is_staff": Walk(seen=keys_in_the_admin, act=to_person("vera", is_staff=None), after=302),
    "User.is_superuser": Walk(
        first=without_the_group,
        seen=keys_in_the_admin,
        before=403,
        act=to_person("vera", is_superuser="on"),
        after=200,
    ),
    "User.groups": Walk(seen=keys_in_the_admin, act=to_person("vera", groups=[]), after=403),
    "User.user_permissions": Walk(
        first=without_the_group,
        seen=keys_in_the_admin,
        before=403,
        act=permit_vera,
        after=200,
    ),
    "User delete": Walk(seen=keys_in_the_admin, act=remove(lambda: User.objects.get(username="vera")), after=302),
    "User delete_selected": Walk(
        seen=keys_in_the_admin,
        act=selected(User, "delete_selected", lambda: User.objects.get(username="vera"), post="yes"),
        after=302,
    ),
    "Group add": Walk(first=without_the_group, seen=keys_in_the_admin, before=403, act=added_group, after=200),
    "Group.permissions": Walk(seen=keys_in_the_admin, act=to_group(permissions=[]), after=403),
    "Group delete": Walk(seen=keys_in_the_admin, act=remove(Group.objects.get), after=403),
    "Group delete_selected": Walk(
        seen=keys_in_the_admin,
        act=selected(Group, "delete_selected", Group.objects.get, post="yes"),
        after=403,
    ),
    "Membership add": Walk(first=not_a_member, seen=in_the_console, before=404, act=make_member, after=200),
    "Membership.role": Walk(
        first=with_another_owner,
        seen=lambda world: world.console("keys/new/").status_code,
        act=lambda world: send(world.operator, page_of(adas_membership()), role="viewer"),
        after=403,
    ),
    "Membership delete": Walk(**AUDIENCE, act=remove(adas_membership)),
    "Membership delete_selected": Walk(
        **AUDIENCE, act=selected(Membership, "delete_selected", adas_membership, post="yes")
    ),
    # Credentials of the REST API
    "ManagementKey add": Walk(
        first=forget("program"),
        seen=by_the_program,
        before=401,
        act=created("program", ManagementKey, scopes=["keys:read"]),
        after=200,
    ),
    "ManagementKey revoke": Walk(seen=by_the_program, act=of_a_credential(ManagementKey), after=401),
    "OperatorToken add": Walk(
        first=forget("integration"),
        seen=by_the_integration,
        before=401,
        act=created("integration", OperatorToken, scopes=["accounts:write"]),
        after=200,
    ),
    "OperatorToken revoke": Walk(seen=by_the_integration, act=of_a_credential(OperatorToken), after=401),
}

# Nothing that a request gets depends on these, at least not the next one.
ELSEWHERE = {
    "Account.name": "a label; test_admin.py holds that the gate's facts follow",
    "ServedModel.speaks": "chooses examples of code in the console, held by tests/console/test_try_it.py",
    "Plan.auto_include": "about models that discover_models will find, held by tests/traefik",
    "Plan words": "writes nothing",
    "Group.name": "a label",
    "User.username": "the name to sign in with next time",
    "User.first_name": "a label",
    "User.last_name": "a label",
    "User.email": "where the next mail goes",
    "User.password": "a link to the form of its own",
    "User.keep_credentials": "a choice for the moment when rights are taken, held by test_people.py",
}


@pytest.fixture
def world(operator, issued, redis_db) -> World:
    return World(operator, issued, redis_db)


@pytest.mark.parametrize("place", WALKS)
def test_what_is_done_in_the_admin_holds_from_the_next_request_on(world, place):
    walk = WALKS[place]
    walk.first(world)
    assert walk.seen(world) == walk.before
    walk.act(world)
    assert walk.seen(world) == walk.after


def places(request: Any) -> Iterator[str]:
    """Every form, field, part of a form, page that acts, and action that a superuser has."""
    for model, page in admin.site._registry.items():
        name, row = model.__name__, model._default_manager.first()
        if page.has_add_permission(request):
            yield f"{name} add"
        if row is not None and page.has_delete_permission(request, row):
            yield f"{name} delete"
        if row is not None and page.has_change_permission(request, row):
            fixed = set(page.get_readonly_fields(request, row))
            fields = flatten_fieldsets(page.get_fieldsets(request, row))
            yield from (f"{name}.{field}" for field in fields if field not in fixed)
            inlines = page.get_inline_instances(request, row)
            yield from (f"{name}: {one.model.__name__}" for one in inlines if one.has_change_permission(request, row))
        start = f"{model._meta.app_label}_{model._meta.model_name}_"
        ours = [url.name.removeprefix(start) for url in page.get_urls() if url.name]
        yield from (f"{name} {one}" for one in ours if one not in ("changelist", "add", "history", "delete", "change"))
        yield from (f"{name} {action}" for action in page.get_actions(request))


def test_every_form_and_action_of_the_admin_has_a_walk(world, rf):
    request = rf.get("/")
    request.user = User.objects.get(username="olga")
    walked = {place.partition(" (")[0] for place in WALKS}
    assert set(places(request)) == walked | set(ELSEWHERE)
    assert not walked & set(ELSEWHERE)
