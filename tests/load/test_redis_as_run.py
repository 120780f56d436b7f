"""Redis as people run it: by TLS, behind Sentinel and in a cluster where some do not answer, over a slow network."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from accounts.services.accounts import create_account
from accounts.services.keys import issue_key
from authsvc.gate.app import close_gate
from quotas.models import Plan
from store import clients
from store.clients import StoreUnavailable
from store.commands import command
from store.link import Link
from tests.conftest import ACTOR
from tests.load.test_topologies import _cli, statuses, use
from tests.servers import accepts, free_port, redis_server, running, wait_until
from tests.tcp_proxy import proxy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack
        clients.sync_client.cache_clear()


@pytest.fixture
def redis_db():
    """These tests have stores of their own, which start empty."""


async def answered(link: Link, partition: str = "", seconds: float = 20) -> float:
    """The seconds until the link answers."""
    began = time.monotonic()
    while True:
        try:
            assert await link.ask(partition, command("ECHO", "there")) == b"there"
            return time.monotonic() - began
        except StoreUnavailable:
            assert time.monotonic() - began < seconds, "the link did not answer"
            await asyncio.sleep(0.02)


async def link_answers(url: str, seconds: float = 20) -> float:
    link = Link(url)
    try:
        return await answered(link, seconds=seconds)
    finally:
        await link.close()


def client_answers(url: str, settings) -> float:
    """The seconds until redis-py's client of commands and pages answers."""
    use(url, settings)
    began = time.monotonic()
    assert clients.sync_client().ping()
    return time.monotonic() - began


# TLS


def openssl(folder: Path, *args: str) -> None:
    subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, a server's certificate for the name `redis.test` alone, and a client's."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    for name, subject in (("server", "redis.test"), ("localhost", "localhost"), ("client", "client")):
        openssl(folder, "req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}")
        (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{subject}\n")
        openssl(
            folder,
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            f"{name}.pem",
            "-days",
            "2",
            "-extfile",
            f"{name}.ext",
        )
    return folder


def by_tls(port: int, folder: Path, name: str, *more: str) -> tuple[str, ...]:
    return (
        "--tls-port",
        str(port),
        "--tls-cert-file",
        str(folder / f"{name}.pem"),
        "--tls-key-file",
        str(folder / f"{name}.key"),
        "--tls-ca-cert-file",
        str(folder / "ca.pem"),
        *more,
    )


@pytest.mark.parametrize(
    ("name", "query", "is_let_in"),
    [
        ("localhost", "ssl_ca_certs={ca}&ssl_certfile={cert}&ssl_keyfile={key}", True),
        ("localhost", "ssl_certfile={cert}&ssl_keyfile={key}", False),  # nobody knows the authority
        ("localhost", "ssl_ca_certs={ca}", False),  # the server wants our certificate
        ("localhost", "ssl_cert_reqs=none&ssl_certfile={cert}&ssl_keyfile={key}", True),
        ("server", "ssl_ca_certs={ca}&ssl_certfile={cert}&ssl_keyfile={key}", False),  # of another name
        ("server", "ssl_ca_certs={ca}&ssl_certfile={cert}&ssl_keyfile={key}&ssl_check_hostname=false", True),
    ],
)
def test_tls_means_the_same_to_the_pipe_and_to_redis_py(
    stack, tmp_path, certificates, settings, on_a_loop, name, query, is_let_in
):
    port = free_port()
    stack.enter_context(redis_server(tmp_path, more=by_tls(port, certificates, name)))
    files = {
        "ca": certificates / "ca.pem",
        "cert": certificates / "client.pem",
        "key": certificates / "client.key",
    }
    url = f"rediss://localhost:{port}/0?{query.format(**files)}"
    if is_let_in:
        on_a_loop(link_answers(url))
        client_answers(url, settings)
        return
    with pytest.raises(AssertionError, match="did not answer"):
        on_a_loop(link_answers(url, seconds=1))
    with pytest.raises(redis.ConnectionError):
        client_answers(url, settings)


# Sentinel


def sentinel_server(stack, tmp_path, master: int, *lines: str, number: int = 0) -> tuple[int, subprocess.Popen[bytes]]:
    port = free_port()
    config = tmp_path / f"sentinel-{number}-{port}.conf"
    monitor = [f"sentinel monitor models 127.0.0.1 {master} 1", "sentinel down-after-milliseconds models 1000"]
    config.write_text("\n".join([f"port {port}", *monitor, *lines, ""]))
    process = stack.enter_context(
        running(["redis-server", str(config), "--sentinel"], log=tmp_path / f"sentinel-{port}.log")
    )
    wait_until(lambda: accepts(port), "the sentinel")
    return port, process


@pytest.fixture
def master(stack, tmp_path) -> int:
    directory = tmp_path / "master"
    directory.mkdir()
    port = free_port()
    stack.enter_context(redis_server(directory, port=port))
    return port


@pytest.fixture(params=["nobody listens", "accepts and never answers", "is stopped"])
def first_sentinel(request, stack, tmp_path, master) -> int:
    """A port for the first sentinel of the list, which never answers."""
    if request.param == "nobody listens":
        return free_port()
    if request.param == "accepts and never answers":
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        return int(silent.getsockname()[1])
    port, process = sentinel_server(stack, tmp_path, master, number=9)
    process.send_signal(signal.SIGSTOP)
    stack.callback(process.send_signal, signal.SIGCONT)
    return port


def test_a_sentinel_that_does_not_answer_delays_nobody(
    stack, tmp_path, settings, on_a_loop, master, first_sentinel, catalogue
):
    others = [sentinel_server(stack, tmp_path, master, number=number)[0] for number in range(2)]
    hosts = ",".join(f"127.0.0.1:{port}" for port in (first_sentinel, first_sentinel, *others))
    url = f"redis+sentinel://{hosts}/models/0"
    settings.REDIS_CONNECT_SECONDS = 10  # whoever waits for the first one, waits for longer than this test allows
    assert on_a_loop(link_answers(url)) < 5
    assert client_answers(url, settings) < 5
    account, _ = create_account("acme", Plan.objects.get(name="pro"), actor=ACTOR)
    began = time.monotonic()
    key = issue_key(account, name="k", actor=ACTOR)
    assert time.monotonic() - began < 10

    async def run() -> None:
        while await statuses(key.text) != [200]:
            assert time.monotonic() - began < 30
            await asyncio.sleep(0.05)
        await close_gate()

    on_a_loop(run())


def test_a_failover_is_followed_past_a_sentinel_that_does_not_answer(
    stack, tmp_path, settings, on_a_loop, master, first_sentinel
):
    directory = tmp_path / "replica"
    directory.mkdir()
    replica = free_port()
    more = ("--replicaof", "127.0.0.1", str(master), "--repl-diskless-sync-delay", "0")
    stack.enter_context(redis_server(directory, port=replica, more=more))
    wait_until(lambda: f"port={replica},state=online" in _cli(master, "info", "replication"), "the replica")
    sentinel, _ = sentinel_server(stack, tmp_path, master)
    wait_until(lambda: "slaves=1" in _cli(sentinel, "info", "sentinel"), "the sentinel knowing the replica")
    url = f"redis+sentinel://127.0.0.1:{first_sentinel},127.0.0.1:{sentinel}/models/0"

    async def run() -> None:
        link = Link(url)
        await answered(link)
        await asyncio.to_thread(_cli, master, "shutdown", "nosave", "now")
        is_there = lambda: "authsvc-gate" in _cli(replica, "client", "list")  # noqa: E731
        end = time.monotonic() + 40
        while not await asyncio.to_thread(is_there):
            assert time.monotonic() < end, f"the link did not find the new master: {link.trouble}"
            try:
                await link.ask("", command("SET", "a", "b"))
            except StoreUnavailable:
                await asyncio.sleep(0.02)
        await link.close()

    on_a_loop(run())


def test_sentinels_with_a_password_and_a_master_by_tls_and_ipv6_in_the_list(
    stack, tmp_path, certificates, settings, on_a_loop
):
    port = free_port()
    more = by_tls(port, certificates, "server", "--tls-auth-clients", "no", "--requirepass", "of-the-master")
    stack.enter_context(redis_server(tmp_path, more=(*more, "--bind", "127.0.0.1"), password="of-the-master"))
    sentinel, _ = sentinel_server(
        stack,
        tmp_path,
        port,
        "bind 127.0.0.1 ::1",
        "requirepass of-the-sentinels",
        "tls-replication yes",
        f"tls-ca-cert-file {certificates / 'ca.pem'}",
        f"tls-cert-file {certificates / 'client.pem'}",
        f"tls-key-file {certificates / 'client.key'}",
        "sentinel auth-pass models of-the-master",
    )
    ca = f"ssl_ca_certs={certificates / 'ca.pem'}&ssl_check_hostname=no"
    options = f"sentinel_password=of-the-sentinels&{ca}"
    for scheme, more_options in (("rediss+sentinel", ""), ("redis+sentinel", "&ssl=1")):
        url = f"{scheme}://:of-the-master@[::1]:{sentinel}/models/2?{options}{more_options}"
        on_a_loop(link_answers(url))
        client_answers(url, settings)
        assert clients.sync_client().client_info()["db"] == 2


# Cluster


@pytest.mark.parametrize("vain", ["nobody listens", "accepts and never answers"])
def test_a_cluster_is_found_by_any_of_its_nodes(stack, tmp_path, settings, on_a_loop, vain):
    port = free_port()
    more = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    stack.enter_context(redis_server(tmp_path, port=port, more=more))
    _cli(port, "cluster", "addslotsrange", "0", "16383")
    wait_until(lambda: "cluster_state:ok" in _cli(port, "cluster", "info"), "the cluster")
    silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    other = free_port() if vain == "nobody listens" else silent.getsockname()[1]
    for nodes in ([other, other, port], [port, other]):
        url = f"redis+cluster://{','.join(f'127.0.0.1:{node}' for node in nodes)}"
        assert on_a_loop(link_answers(url)) < 10
        assert client_answers(url, settings) < 10


def test_a_cluster_that_is_away_raises_an_error_that_callers_handle(settings):
    with pytest.raises(redis.RedisError):
        client_answers(f"redis+cluster://127.0.0.1:{free_port()}", settings)


def test_a_cluster_s_passwords_tls_and_ipv6(stack, tmp_path, certificates, settings, on_a_loop):
    port = free_port()
    more = (
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        str(free_port()),
        "--tls-cluster",
        "yes",
        "--requirepass",
        "s3cret",
        "--tls-auth-clients",
        "no",
    )
    stack.enter_context(redis_server(tmp_path, more=(*by_tls(port, certificates, "server"), *more), password="s3cret"))
    client = redis.Redis(unix_socket_path=str(tmp_path / "redis.sock"), password="s3cret")
    client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    client.execute_command("CONFIG", "SET", "cluster-announce-ip", "127.0.0.1")
    wait_until(lambda: "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO")), "the cluster")
    ca = f"ssl_ca_certs={certificates / 'ca.pem'}&ssl_check_hostname=no"
    url = f"rediss+cluster://:s3cret@[::1]:{port}?{ca}"
    on_a_loop(link_answers(url))
    client_answers(url, settings)


# A slow network


def test_the_whole_decision_over_a_network_that_takes_250_ms_to_begin(
    stack, tmp_path, settings, on_a_loop, catalogue, master
):
    slow = stack.enter_context(proxy(master, seconds=0.25))
    use(f"redis://127.0.0.1:{slow.port}/0", settings)
    account, _ = create_account("acme", Plan.objects.get(name="pro"), actor=ACTOR)
    key = issue_key(account, name="k", actor=ACTOR)

    async def run() -> None:
        end = time.monotonic() + 20
        while await statuses(key.text) != [200]:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        await close_gate()

    on_a_loop(run())
