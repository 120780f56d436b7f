"""REDIS_URL: one parser for the pipes and redis-py, and one sentence for each error."""

from __future__ import annotations

import ssl

import pytest

from store import clients
from store.address import SCHEMES, BadAddress, Tls, read_address

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "nodes", "service", "db"),
    [
        ("redis://", (("localhost", 6379),), "", 0),
        ("redis://:6380/2", (("localhost", 6380),), "", 2),
        ("rediss://host/3", (("host", 6379),), "", 3),
        ("redis://[::1]:6380?db=4", (("::1", 6380),), "", 4),
        ("redis://[fe80::1%25eth0]", (("fe80::1%eth0", 6379),), "", 0),
        ("redis+sentinel://a,[::1]:26380,b:7/main/5", (("a", 26379), ("::1", 26380), ("b", 7)), "main", 5),
        ("redis+sentinel://a", (("a", 26379),), "mymaster", 0),
        ("rediss+sentinel://a/main", (("a", 26379),), "main", 0),
        ("redis+cluster://[::1]:7000,b", (("::1", 7000), ("b", 6379)), "", 0),
        ("redis+cluster://a/0", (("a", 6379),), "", 0),
    ],
)
def test_hosts_service_and_database_are_read(url, nodes, service, db):
    address = read_address(url)
    assert (address.nodes, address.service, address.db) == (nodes, service, db)


def test_a_socket_is_read():
    address = read_address("unix://me:p%40ss@/run/a%20b.sock?db=2")
    assert (address.path, address.db, address.login.arguments()) == ("/run/a b.sock", 2, ["me", "p@ss"])


@pytest.mark.parametrize(
    ("url", "arguments"),
    [
        ("redis://host", []),
        ("redis://:p%2Fss@host", ["p/ss"]),
        ("redis://me:pass@host", ["me", "pass"]),
        ("redis://me@host", ["me", ""]),
        ("redis://host?username=me&password=pass", ["me", "pass"]),
        ("redis+cluster://me:pass@a,b", ["me", "pass"]),
    ],
)
def test_everyone_signs_in_with_the_same_name_and_password(url, arguments):
    login = read_address(url).login
    assert login.arguments() == arguments
    assert [value for value in login.options().values() if value is not None] == [*filter(None, arguments)]


def test_sentinels_have_a_login_and_tls_of_their_own():
    address = read_address(
        "redis+sentinel://me:mine@a,b/main?sentinel_username=watch&sentinel_password=theirs&sentinel_ssl=1"
    )
    assert address.login.arguments() == ["me", "mine"]
    assert address.sentinel_login.arguments() == ["watch", "theirs"]
    assert address.tls is None and address.sentinel_tls is not None


@pytest.mark.parametrize(
    "url",
    [
        "rediss://h",
        "redis://h?ssl=1",
        "rediss+sentinel://h",
        "redis+sentinel://h?ssl=true",
        "rediss+cluster://h",
        "redis+cluster://h?ssl=yes",
    ],
)
def test_tls_is_requested_by_the_scheme_or_an_option(url):
    assert read_address(url).tls == Tls()


@pytest.mark.parametrize(
    ("query", "verify", "hostname"),
    [
        ("", ssl.CERT_REQUIRED, True),
        ("?ssl_cert_reqs=none", ssl.CERT_NONE, False),
        ("?ssl_cert_reqs=CERT_NONE&ssl_check_hostname=true", ssl.CERT_NONE, False),
        ("?ssl_cert_reqs=optional", ssl.CERT_OPTIONAL, True),
        ("?ssl_check_hostname=false", ssl.CERT_REQUIRED, False),
        ("?ssl_check_hostname=0", ssl.CERT_REQUIRED, False),
    ],
)
@pytest.mark.parametrize("scheme", ["rediss", "rediss+sentinel", "rediss+cluster"])
def test_pipe_and_redis_py_check_certificates_alike(scheme, query, verify, hostname):
    tls = read_address(f"{scheme}://host{query}").tls
    assert tls is not None
    context, options = tls.context(), tls.options()
    assert (context.verify_mode, context.check_hostname) == (verify, hostname)
    theirs = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
    assert (theirs[options["ssl_cert_reqs"]], options["ssl_check_hostname"]) == (verify, hostname)


def test_the_least_tls_version_and_ciphers_are_for_both():
    tls = read_address("rediss://host?ssl_min_version=1.3&ssl_ciphers=HIGH").tls
    assert tls is not None
    assert tls.context().minimum_version is tls.options()["ssl_min_version"] is ssl.TLSVersion.TLSv1_3
    assert tls.options()["ssl_ciphers"] == "HIGH"


WRONG = [
    ("http://host", "redis://"),
    ("redis://[::1/0", "IPv6"),
    ("redis://::1:6379/0", "IPv6"),
    ("redis+sentinel://[::zz]:1/m", "brackets"),
    ("redis://host:port/0", "port"),
    ("redis://host:70000/0", "65535"),
    ("redis://host:0/0", "65535"),
    ("redis+sentinel://a:x,b:26379/m", "port"),
    ("redis+sentinel:///m", "no name"),
    ("redis+cluster://a,,b", "no name"),
    ("redis://a,b/0", "redis+sentinel://"),
    ("redis://host/main", "database"),
    ("redis://host/1/2", "database"),
    ("redis://host/1?db=2", "database"),
    ("redis://host?db=-1", "database"),
    ("redis+cluster://host/1", "database"),
    ("unix://run/redis.sock", "absolute"),
    ("redis://host?socket_timeout=5", "socket_timeout"),
    ("redis://host?ssl_check_hostnames=false&ssl=1", "ssl_check_hostnames"),
    ("redis://host?sentinel_password=s3cr3t", "sentinel_password"),
    ("unix:///run/redis.sock?ssl=1", "ssl"),
    ("rediss+cluster://host?ssl_ca_path=/etc", "ssl_ca_path"),
    ("redis://host?ssl_ca_certs=/etc/ca.pem", "ssl_ca_certs"),
    ("rediss://host?ssl=0", "ssl=0"),
    ("rediss://host?ssl_check_hostname=maybe", "ssl_check_hostname"),
    ("rediss://host?ssl_cert_reqs=never", "ssl_cert_reqs"),
    ("rediss://host?ssl_cert_reqs=", "ssl_cert_reqs"),
    ("rediss://host?ssl_cert_reqs=none&ssl_cert_reqs=required", "twice"),
    ("rediss://host?ssl_ca_certs=/no/such.pem", "ssl_ca_certs"),
    ("rediss://host?ssl_certfile=/no/such.pem", "ssl_certfile"),
    ("rediss://host?ssl_keyfile=/no/such.pem", "ssl_certfile"),
    ("rediss://host?ssl_ciphers=NONSENSE", "ssl_ciphers"),
    ("rediss://host?ssl_min_version=1.0", "ssl_min_version"),
    ("redis://:s3cr3t@host?password=other", "twice"),
]


@pytest.mark.parametrize(("url", "named"), WRONG)
def test_what_is_not_understood_is_refused_by_name(url, named):
    with pytest.raises(BadAddress, match=named.replace("+", r"\+")) as refused:
        read_address(url)
    assert "\n" not in str(refused.value) and str(refused.value).endswith(".")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "rest",
    [
        "//me:{}/x@host/0",
        "//me:{}#x@host/0",
        "//me:1?{}@host/0",
        "//me:1?{}=x@host/0",
        "//:{}@[host/0",
        "//:{}@host:p/0",
        "//:{}@host?nonsense={}",
        "//:{}@℀/0",
        "//h?ssl_cert_reqs={}",
        "//h?password={}&password={}",
    ],
)
def test_no_refusal_prints_a_password(scheme, rest):
    with pytest.raises(BadAddress) as refused:
        read_address(f"{scheme}:{rest.replace('{}', SECRET)}")
    assert SECRET not in str(refused.value)
    assert refused.value.__suppress_context__ or SECRET not in str(refused.value.__context__)


def test_a_password_is_in_no_representation():
    url = f"rediss+sentinel://me:{SECRET}@h/m?sentinel_password={SECRET}"
    assert SECRET not in repr(read_address(url))


@pytest.mark.parametrize("url", ["redis://h/1", "rediss://h", "unix:///s", "rediss+sentinel://a,b/m"])
def test_redis_py_has_a_keepalive_and_asks_after_a_quiet_connection(settings, url):
    settings.REDIS_URL = url
    clients.sync_client.cache_clear()
    try:
        kwargs = clients.sync_client().connection_pool.connection_kwargs
    finally:
        clients.sync_client.cache_clear()
    assert 0 < kwargs["health_check_interval"] < 60
    assert url.startswith("unix") or (kwargs["socket_keepalive"] and kwargs["socket_keepalive_options"])
