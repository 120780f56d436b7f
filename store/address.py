"""REDIS_URL, parsed in one place, so that the gate's pipes and redis-py's clients use the same hosts, login and TLS."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_KINDS = {
    "redis": "single",
    "rediss": "single",
    "unix": "single",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
SCHEMES = tuple(_KINDS)
_PORTS = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_TLS_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_ESCAPE = "In a user name or password, write % / ? # @ : as %25 %2F %3F %23 %40 %3A."

_LOGIN = ("username", "password")
_TLS = (
    "ssl",
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
    "ssl_min_version",
    "ssl_ciphers",
)
_NOT_IN_A_CLUSTER = {"ssl_ca_path", "ssl_password", "ssl_min_version", "ssl_ciphers"}  # redis-py lacks them there
_SENTINEL = ("sentinel_username", "sentinel_password", "sentinel_ssl")


class BadAddress(ValueError):
    """A REDIS_URL that cannot be used. The message names the part that is wrong and never contains a password."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and password, either of which may be missing."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def arguments(self) -> list[str]:
        """The arguments of AUTH; empty if there is no login."""
        if self.username is None and self.password is None:
            return []
        return [*filter(None, [self.username]), self.password or ""]

    def options(self) -> dict[str, Any]:
        """The same, as options of redis-py."""
        return {"username": self.username, "password": self.password}


@dataclass(frozen=True, slots=True)
class Tls:
    """How certificates are checked, and our own certificate. Options have the names that redis-py gives them."""

    cert_reqs: str = "required"
    check_hostname: bool = True
    ca_certs: str | None = None
    ca_path: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    password: str | None = field(default=None, repr=False)
    min_version: str | None = None
    ciphers: str | None = None

    def context(self) -> ssl.SSLContext:
        """For the pipes. Raises BadAddress if a file or a list of ciphers cannot be used."""
        context = ssl.create_default_context()
        context.check_hostname = self.checks_hostname
        context.verify_mode = _VERIFY[self.cert_reqs]
        if self.min_version:
            context.minimum_version = _TLS_VERSIONS[self.min_version]
        with _refusing("ssl_ciphers"):
            if self.ciphers:
                context.set_ciphers(self.ciphers)
        with _refusing("ssl_ca_certs" if self.ca_certs else "ssl_ca_path"):
            if self.ca_certs or self.ca_path:
                context.load_verify_locations(self.ca_certs, self.ca_path)
        with _refusing("ssl_certfile, ssl_keyfile or ssl_password"):
            if self.certfile:
                context.load_cert_chain(self.certfile, self.keyfile, lambda: self.password or "")
        return context

    @property
    def checks_hostname(self) -> bool:
        return self.check_hostname and self.cert_reqs != "none"

    def options(self) -> dict[str, Any]:
        """The same, as options of redis-py."""
        options = {
            "ssl": True,
            "ssl_cert_reqs": self.cert_reqs,
            "ssl_check_hostname": self.checks_hostname,
            "ssl_ca_certs": self.ca_certs,
            "ssl_ca_path": self.ca_path,
            "ssl_certfile": self.certfile,
            "ssl_keyfile": self.keyfile,
            "ssl_password": self.password,
            "ssl_min_version": _TLS_VERSIONS[self.min_version] if self.min_version else None,
            "ssl_ciphers": self.ciphers,
        }
        return {name: value for name, value in options.items() if value is not None}


@contextmanager
def _refusing(options: str) -> Iterator[None]:
    """Turn an error of OpenSSL into a sentence that names the option."""
    try:
        yield
    except OSError as error:  # SSLError is one
        reason = getattr(error, "reason", None) or error.strerror or str(error) or type(error).__name__
        raise BadAddress(f"{options} cannot be used ({reason.rstrip('.')}).") from None


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is, and how to sign in."""

    kind: str  # single, sentinel or cluster
    nodes: tuple[tuple[str, int], ...] = ()  # for sentinel and cluster: which to ask first
    path: str | None = None  # of a UNIX socket
    service: str = ""
    db: int = 0
    login: Login = Login()
    tls: Tls | None = None
    sentinel_login: Login = Login()
    sentinel_tls: Tls | None = None


@lru_cache(8)
def read_address(url: str) -> RedisAddress:
    """Parse the URL, without connecting. Raises BadAddress if any part of it is not understood."""
    parts = _split(url)
    if parts.scheme not in SCHEMES:
        raise BadAddress(f"it must begin with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}.")
    if parts.fragment or "@" in parts.query or (parts.scheme != "unix" and "@" in parts.path):
        raise BadAddress(f"there is a # or @ where none is allowed. {_ESCAPE}")
    return _UrlReader(parts).address()


def _split(url: str) -> SplitResult:
    """Split without the hosts and add them afterwards: newer Pythons refuse an IPv6 address in a list of hosts."""
    scheme, separator, rest = url.partition("://")
    netloc = re.match(r"[^/?#]*", rest)
    assert netloc is not None  # it may be empty
    try:
        return urlsplit(f"{scheme}{separator}{rest[netloc.end() :]}")._replace(netloc=netloc[0])
    except ValueError:  # its message may quote the password
        raise BadAddress(f"it is not a URL. {_ESCAPE}") from None


class _UrlReader:
    def __init__(self, parts: SplitResult) -> None:
        self._parts, self._kind = parts, _KINDS[parts.scheme]
        self._userinfo, _, self._hosts = parts.netloc.rpartition("@")
        self._given = _query(parts.query, self._known())

    def address(self) -> RedisAddress:
        nodes, path = self._where()
        service, db = self._service_and_db()
        secure = self._parts.scheme.startswith("rediss")
        to_redis, to_sentinels = self._flag("ssl", default=secure), self._flag("sentinel_ssl", default=False)
        if secure and not to_redis:
            raise BadAddress("ssl=0 contradicts the scheme: use redis instead of rediss, or leave ssl out.")
        tls = self._tls(is_used=to_redis or to_sentinels)
        return RedisAddress(
            self._kind,
            nodes,
            path,
            service,
            db,
            login=self._login(),
            tls=tls if to_redis else None,
            sentinel_login=Login(self._given.get("sentinel_username"), self._given.get("sentinel_password")),
            sentinel_tls=tls if to_sentinels else None,
        )

    def _known(self) -> tuple[str, ...]:
        if self._parts.scheme == "unix":
            return (*_LOGIN, "db")
        if self._kind == "cluster":
            return (*_LOGIN, *(name for name in _TLS if name not in _NOT_IN_A_CLUSTER))
        return (*_LOGIN, "db", *_TLS, *(_SENTINEL if self._kind == "sentinel" else ()))

    def _where(self) -> tuple[tuple[tuple[str, int], ...], str | None]:
        if self._parts.scheme == "unix":
            if self._hosts or not self._parts.path.startswith("/"):
                raise BadAddress("the path of the socket must be absolute: unix:///run/redis.sock.")
            return (), unquote(self._parts.path)
        is_unnamed = self._kind == "single" and self._hosts[:1] in ("", ":")
        nodes = tuple(_nodes(f"localhost{self._hosts}" if is_unnamed else self._hosts, _PORTS[self._kind]))
        if self._kind == "single" and len(nodes) > 1:
            raise BadAddress("several hosts need redis+sentinel:// or redis+cluster://.")
        return nodes, None

    def _login(self) -> Login:
        if not self._userinfo:
            return Login(self._given.get("username"), self._given.get("password"))
        if self._given.keys() & set(_LOGIN):
            raise BadAddress("a user or password is given twice: before the @ and as an option.")
        user, _, password = self._userinfo.partition(":")
        return Login(unquote(user) or None, unquote(password) or None)

    def _service_and_db(self) -> tuple[str, int]:
        service, path = "", "" if self._parts.scheme == "unix" else self._parts.path.strip("/")
        if self._kind == "sentinel":
            service, _, path = path.partition("/")
        if self._kind == "cluster" and path not in ("", "0"):
            raise BadAddress("a cluster has only database 0.")
        numbers = {text for text in (path, self._given.get("db", "")) if text}
        if len(numbers) > 1 or not all(text.isascii() and text.isdigit() and len(text) < 6 for text in numbers):
            raise BadAddress("the database must be one number: redis://HOST/0, redis+sentinel://HOST/SERVICE/0.")
        return (unquote(service) or "mymaster") if self._kind == "sentinel" else "", int(min(numbers, default="0"))

    def _tls(self, *, is_used: bool) -> Tls | None:
        given = self._given
        if not is_used:
            if named := [name for name in _TLS[1:] if name in given]:
                raise BadAddress(f"{named[0]} is given, but TLS is off: begin the URL with rediss, or add ssl=1.")
            return None
        for name, needed in (("ssl_keyfile", "ssl_certfile"), ("ssl_password", "ssl_keyfile")):
            if name in given and needed not in given:
                raise BadAddress(f"{name} also needs {needed}.")
        verify = given.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
        least = given.get("ssl_min_version")
        tls = Tls(
            cert_reqs=_one_of("ssl_cert_reqs", verify, _VERIFY),
            check_hostname=self._flag("ssl_check_hostname", default=True),
            ca_certs=given.get("ssl_ca_certs"),
            ca_path=given.get("ssl_ca_path"),
            certfile=given.get("ssl_certfile"),
            keyfile=given.get("ssl_keyfile"),
            password=given.get("ssl_password"),
            min_version=_one_of("ssl_min_version", least, _TLS_VERSIONS) if least else None,
            ciphers=given.get("ssl_ciphers"),
        )
        tls.context()  # so that an unreadable file stops the start
        return tls

    def _flag(self, name: str, *, default: bool) -> bool:
        return _FLAGS[_one_of(name, self._given[name].lower(), _FLAGS)] if name in self._given else default


def _query(query: str, known: tuple[str, ...]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            shown = f"the option {name}" if re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) else "an option"
            raise BadAddress(f"{shown} is not known here. Known options: {', '.join(known)}.")
        if name in given:
            raise BadAddress(f"the option {name} is given twice.")
        if not value:
            raise BadAddress(f"the option {name} is empty: give it a value, or leave it out.")
        given[name] = value
    return given


def _one_of(name: str, value: str, allowed: dict[str, Any]) -> str:
    if value not in allowed:
        raise BadAddress(f"the option {name} must be one of: {', '.join(allowed)}.")
    return value


def _nodes(hosts: str, port: int) -> Iterator[tuple[str, int]]:
    for part in hosts.split(","):
        found = re.fullmatch(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^\[\]:\s]*))(?::(?P<port>[0-9]{1,5}))?", part)
        if found is None or not part.isascii():
            raise BadAddress(
                f"each host must be HOST or HOST:PORT in ASCII, the port a number and IPv6 in brackets. {_ESCAPE}"
            )
        number = int(found["port"] or port)
        host = _v6(found["v6"]) if found["v6"] else unquote(found["name"])
        if not host or not 0 < number < 65536:
            raise BadAddress("a host has no name, or its port is not between 1 and 65535.")
        yield host, number


def _v6(text: str) -> str:
    try:
        return str(IPv6Address(unquote(text)))
    except ValueError:
        raise BadAddress("the brackets do not contain an IPv6 address.") from None
