"""System checks that stop a wrongly configured service from starting, and name the variable."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import ERROR, CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

_REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")


def stop_if_wrong() -> None:
    """Stop a server that starts without manage.py, which runs the checks itself. Raises ImproperlyConfigured."""
    faults = [f"{found.msg} {found.hint or ''}".strip() for found in check_settings() if found.level >= ERROR]
    if faults:
        raise ImproperlyConfigured(" ".join(faults))


@register()
def check_settings(**_: Any) -> Iterable[CheckMessage]:
    """What the types of settings.py cannot say."""
    if urlsplit(settings.REDIS_URL).scheme not in _REDIS_SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in _REDIS_SCHEMES)
        yield Error(
            "REDIS_URL has a scheme that is not known.", hint=f"Begin it with one of: {schemes}.", id="authsvc.E001"
        )
    if not re.fullmatch(r"[A-Za-z0-9]{2,12}", settings.KEY_PREFIX):
        yield Error(
            "AUTHSVC_KEY_PREFIX is not 2 to 12 letters and digits.", hint="Leave it out for 'ask'.", id="authsvc.E002"
        )
    if settings.KEY_PEPPER_OLD == settings.KEY_PEPPER:
        yield Error(
            "KEY_PEPPER_OLD is the same as KEY_PEPPER.",
            hint="Keep the old value only while they differ.",
            id="authsvc.E003",
        )
    if settings.SECRET_KEY == settings.KEY_PEPPER:
        yield Error("KEY_PEPPER is the same as SECRET_KEY.", hint="Make two independent secrets.", id="authsvc.E004")
    if not re.fullmatch(r"[\x20-\x7e]*", settings.REALM) or '"' in settings.REALM or "\\" in settings.REALM:
        yield Error(
            "AUTHSVC_REALM has characters that a header cannot carry.",
            hint='Use visible ASCII without " and \\.',
            id="authsvc.E005",
        )
    for name in ("GATEWAY_URL", "CONSOLE_URL", "ERRORS_URL"):
        if urlsplit(getattr(settings, name)).scheme not in ("http", "https"):
            variable = f"AUTHSVC_{name}" if name == "ERRORS_URL" else name
            yield Error(f"{variable} is no http:// or https:// address.", id="authsvc.E006")
    if any("_" in host for host in settings.ALLOWED_HOSTS):
        yield Warning(
            "ALLOWED_HOSTS names a host with an underscore.",
            hint="Django refuses such host names: call the service by one without.",
            id="authsvc.W001",
        )
