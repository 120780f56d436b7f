"""Explain: what the gate would answer to a request now, check by check, without using anything up."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from accounts.keys import ID_LENGTH
from accounts.models import ApiKey
from accounts.services.keys import METHODS
from authsvc.gate.explain import ANYWHERE, Explanation, Scenario, explain, in_words
from authsvc.gate.verdict import Verdict
from console.limits import meter
from console.operators.places import Words, may
from quotas.models import ServedModel
from store.throttles import EXPLANATIONS

# What each check asserts, in the order of the gate's rules; a rule that is not here has its refusal's words.
CHECKS: dict[str, Words] = {
    "forwarded_request": gettext_lazy("The request is well-formed"),
    "presented_key": gettext_lazy("The key exists"),
    "wrong_secret": gettext_lazy("The secret is the key's"),
    "revoked_key": gettext_lazy("The key is not revoked"),
    "expired_key": gettext_lazy("The key has not expired"),
    "paused_key": gettext_lazy("The key is not paused"),
    "account_closed": gettext_lazy("The account is not closed"),
    "account_suspended": gettext_lazy("The account is not suspended"),
    "address_not_allowed": gettext_lazy("The key may be used from this address"),
    "method_not_allowed": gettext_lazy("The key may use this method"),
    "unknown_model": gettext_lazy("A model has this path"),
    "pin_mismatch": gettext_lazy("The path leads to the model of the router"),
    "model_not_allowed": gettext_lazy("The plan has the model, and the key may use it"),
    "cost_over_burst": gettext_lazy("Every limit can hold one call"),
    "over_limit": gettext_lazy("No limit is used up"),
}


class ScenarioForm(forms.Form):
    """What is asked. A key is named by its id, or sent as a client would send it."""

    key = forms.CharField(
        label=gettext_lazy("Key"),
        max_length=1024,
        help_text=gettext_lazy("Its id, or the key itself, which is neither stored nor logged."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    model = forms.ChoiceField(label=gettext_lazy("Model"), required=False)
    path = forms.CharField(
        label=gettext_lazy("Path"),
        max_length=8192,
        required=False,
        help_text=gettext_lazy("Empty: the model's own path."),
    )
    method = forms.ChoiceField(label=gettext_lazy("Method"), choices=[(name, name) for name in METHODS], initial="POST")
    address = forms.GenericIPAddressField(
        label=gettext_lazy("Client's address"),
        initial=ANYWHERE,
        help_text=gettext_lazy("Matters for keys with networks."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        model = self.fields["model"]
        assert isinstance(model, forms.ChoiceField)
        slugs = ServedModel.objects.values_list("slug", flat=True)
        model.choices = [("", _("The one at the path")), *((slug, slug) for slug in slugs)]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not cleaned.get("model") and not cleaned.get("path"):
            self.add_error("model", _("Choose a model, enter a path, or both."))
        return cleaned

    def scenario(self) -> Scenario:
        cleaned = dict(self.cleaned_data)
        key = cleaned.pop("key").strip()
        is_id = re.fullmatch(rf"[0-9A-Za-z]{{{ID_LENGTH}}}", key) is not None
        return Scenario(**{"key_id" if is_id else "text": key}, **cleaned)


@sensitive_post_parameters("key")
@sensitive_variables("form", "scenario")
@require_http_methods(["GET", "HEAD", "POST"])
def explaining(request: HttpRequest) -> HttpResponse:
    if not may(request, "accounts.view_apikey", "quotas.view_usagehour"):
        raise PermissionDenied
    context: dict[str, Any] = {**admin.site.each_context(request), "title": _("Explain a decision")}
    form = ScenarioForm(request.POST) if request.method == "POST" else ScenarioForm(initial=_named(request))
    if form.is_bound and form.is_valid():
        if wait := EXPLANATIONS.wait(f"person {request.user.pk}"):
            form.add_error(None, _("Too many explanations. Try again in %(wait)s seconds.") % {"wait": wait})
        else:
            scenario = form.scenario()
            context |= _answer(explain(scenario))
            if scenario.text:
                form = _without_key(form)
    context["form"] = form
    return TemplateResponse(request, "admin/operators/explain.html", context)


def _named(request: HttpRequest) -> dict[str, str]:
    """The key's id and the model out of a link from another page."""
    return {name: request.GET[name] for name in ("key", "model") if name in request.GET}


def _without_key(form: ScenarioForm) -> ScenarioForm:
    """The form once more, without the key that was pasted into it."""
    return ScenarioForm(initial={**form.cleaned_data, "key": ""})


def _answer(explained: Explanation) -> dict[str, Any]:
    now, known = timezone.now(), explained.known
    return {
        "explained": explained,
        "answer": in_words(explained),
        "row": ApiKey.objects.select_related("account").filter(public_id=known.key.public_id).first()
        if known
        else None,
        "checks": [(CHECKS.get(one.name) or _refusal(one.name), one) for one in explained.checks],
        "meters": [(meter(state, now), state.refuses) for state in explained.limits],
    }


def _refusal(word: str) -> str:
    return next((verdict.title for verdict in Verdict if verdict.word == word), word)
