"""System checks that stop a wrongly configured service from starting, and name the variable."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import ERROR, CheckMessage, Error, Warning, register
from redis.exceptions import RedisError

from authsvc.env import BadSetting
from quotas import store


def stop_if_wrong() -> None:
    """Stop a server that starts without manage.py, which runs the checks itself. Raises BadSetting."""
    faults = [f"{found.msg} {found.hint or ''}".strip() for found in check_settings() if found.level >= ERROR]
    if faults:
        raise BadSetting(" ".join(faults))


@register()
def check_settings(**_: Any) -> Iterable[CheckMessage]:
    """What the types of settings.py cannot say."""
    if not store.can_be_read(settings.REDIS_URL):
        schemes = ", ".join(f"{scheme}://" for scheme in store.SCHEMES)
        yield Error(
            "REDIS_URL cannot be read.",
            hint=f"Begin it with one of: {schemes}; then host:port/0, the port and the database being numbers.",
            id="authsvc.E001",
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
        if not _is_web_address(getattr(settings, name)):
            variable = f"AUTHSVC_{name}" if name == "ERRORS_URL" else name
            yield Error(f"{variable} is no http:// or https:// address.", hint="Write https://HOST.", id="authsvc.E006")
    if any("_" in host for host in settings.ALLOWED_HOSTS):
        yield Warning(
            "ALLOWED_HOSTS names a host with an underscore.",
            hint="Django refuses such host names: call the service by one without.",
            id="authsvc.W001",
        )


@register(deploy=True)
def check_proxies(**_: Any) -> Iterable[CheckMessage]:
    """Behind TLS that ends at a proxy, only the proxy can say that a request was https."""
    if "console" in settings.SERVES and settings.CONSOLE_URL.startswith("https://") and not settings.TRUSTED_PROXIES:
        yield Warning(
            "AUTHSVC_TRUSTED_PROXIES is not set, and CONSOLE_URL is https.",
            hint="Name the networks of the proxy where TLS ends; until then the console takes every request for http "
            "and the proxy for the client.",
            id="authsvc.W002",
        )


@register("redis", deploy=True)
def check_redis(**_: Any) -> Iterable[CheckMessage]:
    """What only Redis itself can tell: `manage.py check --deploy`, or `--deploy --tag redis` for this alone."""
    try:
        policies = store.wrong_policies(store.sync_client())
    except (RedisError, ValueError) as error:
        yield Error(
            f"REDIS_URL: Redis does not answer there ({type(error).__name__}).",
            hint="Start it, or correct the address or the password.",
            id="authsvc.E007",
        )
        return
    for policy in policies:
        yield Error(wrong_policy(policy), hint=REMEDY, id="authsvc.E008")


REMEDY = "Set `maxmemory-policy noeviction` in redis.conf, or at your provider; then give it memory enough."


def wrong_policy(policy: str) -> str:
    return f"REDIS_URL: this Redis has the maxmemory-policy {policy} and would forget counters and revocations."


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises ValueError
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
