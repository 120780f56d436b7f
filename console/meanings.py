"""What each public code of an error means, in a sentence or two."""

from __future__ import annotations

from django.utils.translation import gettext_lazy

# Of the gate: the call did not reach a model.
MEANINGS = {
    "no_key": gettext_lazy("The call came without an API key, or in a header that is not looked at."),
    "invalid_token": gettext_lazy(
        "There was a key, but not one that works: it is incomplete, unknown, expired or revoked."
    ),
    "insufficient_scope": gettext_lazy("The key works, but not for this model."),
    "not_forwarded": gettext_lazy("The gate was asked, but not the way Traefik’s ForwardAuth does it."),
    "unclean_path": gettext_lazy(
        "The path can be read in more than one way. Such paths are refused, because proxies and models could disagree "
        "about what was asked for."
    ),
    "unclean_query": gettext_lazy("The part of the address after “?” has bytes that may not stand there as they are."),
    "uri_too_long": gettext_lazy("The address is longer than the gate accepts."),
    "unknown_model": gettext_lazy("No model of this service is at this address."),
    "method_not_allowed": gettext_lazy(
        "The key is restricted to other HTTP methods, or the gate knows no such method."
    ),
    "address_not_allowed": gettext_lazy("The key is restricted to networks, and the call came from outside of them."),
    "account_suspended": gettext_lazy(
        "The account that the key belongs to is suspended or closed, so all of its keys rest."
    ),
    "cost_over_burst": gettext_lazy("One call to this model needs more units than a limit can ever hold."),
    "quota_exceeded": gettext_lazy(
        "The account or the key has used up one of its limits. Nothing was charged for this call."
    ),
    "cannot_decide": gettext_lazy("The gate cannot reach what it needs to decide, and refuses calls for the moment."),
}

# Of the REST API.
MEANINGS_OF_API = {
    "invalid": gettext_lazy(
        "The request was understood, but some of its values are not possible. Nothing was changed."
    ),
    "unreadable": gettext_lazy("The body of the request is not JSON that the API can read."),
    "not_authenticated": gettext_lazy("The API does not know who is asking."),
    "forbidden": gettext_lazy("The API knows who is asking, and this person or program may not do that."),
    "not_found": gettext_lazy("Nothing is at this address for you."),
    "bad_method": gettext_lazy("This address exists, but not with this HTTP method."),
    "not_acceptable": gettext_lazy("The request asks for a format that the API does not have."),
    "conflict": gettext_lazy("The request is fine, but does not fit the state that things are in now."),
    "too_slow": gettext_lazy("The body of the request arrived too slowly."),
    "too_large": gettext_lazy("The body of the request is longer than this call accepts."),
    "unsupported": gettext_lazy("The body of the request has a type that this call does not accept."),
    "key_reused": gettext_lazy(
        "An Idempotency-Key stands for one request, and this one was used for a different request before."
    ),
    "too_many": gettext_lazy("There were too many such calls in a short time."),
    "internal": gettext_lazy("Something broke on our side. It was written down in the service’s log."),
    "unavailable": gettext_lazy("The database or Redis cannot be reached at the moment. Keys keep working."),
}
