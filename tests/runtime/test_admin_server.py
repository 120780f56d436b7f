"""Where the worker listens for Prometheus: an address that cannot be had costs it nothing else."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from runtime import admin_server
from runtime.listening import Address
from tests.servers import free_port


@pytest.fixture
def listen(caplog) -> Iterator[object]:
    """Listen at an address; the socket, or None."""
    found: list[socket.socket] = []

    def listen(text: str, name: tuple[str, int] | str) -> socket.socket | None:
        listener = admin_server._listen(Address(text, name))
        if listener is not None:
            found.append(listener)
        assert ("cannot serve metrics" in caplog.text) is (listener is None)
        return listener

    yield listen
    for listener in found:
        listener.close()


def has_ipv6() -> bool:
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


IPV6 = pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6"))


@pytest.mark.parametrize("host", ["127.0.0.1", IPV6])
def test_it_listens_at_addresses_of_both_kinds(listen, host):
    port = free_port()
    assert listen(f"[{host}]:{port}", (host, port)).getsockname()[:2] == (host, port)


def test_a_socket_file_that_nobody_listens_at_is_replaced(listen, tmp_path):
    path = str(tmp_path / "admin.sock")
    with closing(socket.socket(socket.AF_UNIX)) as left_behind:
        left_behind.bind(path)
    assert os.path.exists(path)  # noqa: PTH110  as the kernel left it
    assert listen(f"unix:{path}", path) is not None
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.connect(path)


def test_a_socket_file_at_which_somebody_listens_is_theirs(listen, tmp_path, caplog):
    path = str(tmp_path / "admin.sock")
    with closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(path)
        other.listen()
        assert listen(f"unix:{path}", path) is None
        assert "another process listens there" in caplog.text
        other.settimeout(20)
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(path)
        for _ in range(2):  # the question whether it lives, and this client
            other.accept()[0].close()


def test_a_socket_that_was_handed_over_stays_open_for_who_handed_it_over(listen):
    with closing(socket.create_server(("127.0.0.1", 0))) as given:
        found = listen(f"fd://{given.fileno()}", ("", 0))
        assert found.getsockname() == given.getsockname() and found.fileno() != given.fileno()


def test_nothing_to_listen_at_starts_no_server(monkeypatch):
    monkeypatch.setattr(admin_server, "_server", lambda: pytest.fail("a server"))
    assert admin_server.serve_beside([]) == []
