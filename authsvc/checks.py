"""System checks that keep a misconfigured service from starting and name the variable."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.checks import ERROR, CheckMessage, Error, Tags, Warning, register
from django.db import Error as DatabaseError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder
from redis.exceptions import RedisError

from runtime.env import BadSetting
from store import clients
from store.address import BadAddress, read_address
from store.condition import REMEDY, UNKNOWN_POLICY, memory_warning, wrong_policies, wrong_policy


def stop_if_wrong() -> None:
    """For a server started without manage.py, which runs the checks itself. Raises BadSetting."""
    faults = [f"{found.msg} {found.hint or ''}".strip() for found in check_settings() if found.level >= ERROR]
    if faults:
        raise BadSetting(" ".join(faults))


@register()
def check_settings(**_: Any) -> Iterable[CheckMessage]:
    """Rules that the readers in settings.py cannot express."""
    try:
        read_address(settings.REDIS_URL)
    except BadAddress as error:
        yield Error(f"REDIS_URL cannot be used: {error}", hint=_OF_REDIS_URL, id="authsvc.E001")
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,32}", settings.REDIS_PREFIX):
        yield Error(
            "AUTHSVC_REDIS_PREFIX must be at most 32 letters, digits, dots, hyphens and underscores.",
            hint="Use the deployment's name, such as staging. A colon is added.",
            id="authsvc.E011",
        )
    if not re.fullmatch(r"[A-Za-z0-9]{2,12}", settings.KEY_PREFIX):
        yield Error(
            "AUTHSVC_KEY_PREFIX must be 2 to 12 letters and digits.",
            hint="Leave it unset for 'ask'.",
            id="authsvc.E002",
        )
    if settings.KEY_PEPPER_OLD == settings.KEY_PEPPER:
        yield Error(
            "KEY_PEPPER_OLD is the same as KEY_PEPPER.",
            hint="Set KEY_PEPPER_OLD only while the two differ.",
            id="authsvc.E003",
        )
    if settings.SECRET_KEY == settings.KEY_PEPPER:
        yield Error("KEY_PEPPER is the same as SECRET_KEY.", hint="Use two independent secrets.", id="authsvc.E004")
    if not re.fullmatch(r"[\x20-\x7e]*", settings.REALM) or '"' in settings.REALM or "\\" in settings.REALM:
        yield Error(
            "AUTHSVC_REALM contains characters that a header cannot carry.",
            hint='Use visible ASCII without " and \\.',
            id="authsvc.E005",
        )
    if any("_" in host for host in settings.ALLOWED_HOSTS):
        yield Warning(
            "ALLOWED_HOSTS names a host with an underscore.",
            hint="Django rejects such host names: use a name without one.",
            id="authsvc.W001",
        )


@register(deploy=True)
def check_proxies(**_: Any) -> Iterable[CheckMessage]:
    """If TLS ends at a proxy, only the proxy can tell that a request was https."""
    if "console" in settings.SERVES and settings.CONSOLE_URL.startswith("https://") and not settings.TRUSTED_PROXIES:
        yield Warning(
            "AUTHSVC_TRUSTED_PROXIES is not set, but CONSOLE_URL is https.",
            hint="List the networks of the proxy that terminates TLS. Until then the console takes every request for "
            "http and the proxy for the client.",
            id="authsvc.W002",
        )


@register(Tags.database)
def check_encoding(databases: Iterable[str] | None = None, **_: Any) -> Iterable[CheckMessage]:
    """For migrations and `manage.py check --database default`. An error only while the database is empty."""
    for alias in databases or ():
        connection = connections[alias]
        if connection.vendor != "postgresql" or (encoding := _encoding(connection)) == "UTF8":
            continue
        is_new = MigrationRecorder.Migration._meta.db_table not in connection.introspection.table_names()
        yield (Error if is_new else Warning)(
            f"DATABASE_URL: this PostgreSQL database uses {encoding}, which rejects or corrupts non-ASCII names.",
            hint="Create a new one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and restore a dump of"
            " this one into it if it has data.",
            id="authsvc.E009" if is_new else "authsvc.W003",
        )


def _encoding(connection: BaseDatabaseWrapper) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_encoding")
        return str(cursor.fetchone()[0])


@register("redis", deploy=True)
def check_redis(**_: Any) -> Iterable[CheckMessage]:
    """Facts that only Redis can tell: `manage.py check --deploy`, or `--deploy --tag redis` for these alone."""
    try:
        found = clients.conditions()
    except (RedisError, ValueError) as error:
        yield Error(
            f"REDIS_URL: Redis does not answer ({type(error).__name__}).",
            hint="Start it, or correct the address or the password.",
            id="authsvc.E007",
        )
        return
    yield from _check_deployment()
    for policy in wrong_policies(found):
        yield Error(wrong_policy(policy), hint=REMEDY, id="authsvc.E008")
    if not all(one.policy for one in found):
        yield Warning(UNKNOWN_POLICY, hint=REMEDY, id="authsvc.W004")
    if warning := memory_warning(found):
        yield Warning(f"REDIS_URL: {warning}", id="authsvc.W005")


def _check_deployment() -> Iterable[CheckMessage]:
    from quotas import deployment  # needs models; gunicorn's master checks settings without them

    try:
        deployment.refuse_another()
    except deployment.AnotherDeployment as error:
        yield Error(f"REDIS_URL: {error}", id="authsvc.E010")
    except DatabaseError:
        pass  # no table yet, or no database: set_up and the worker check again


_OF_REDIS_URL = "Write redis://USER:PASSWORD@HOST:6379/0, or see docs/operations.md for TLS, Sentinel and Cluster."
