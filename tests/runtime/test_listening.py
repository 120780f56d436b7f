"""BIND and ADMIN_BIND: every form of an address, and one sentence for anything else."""

from __future__ import annotations

import socket

import pytest

from runtime.env import BadSetting
from runtime.listening import addresses, is_bound_to, require_apart


@pytest.fixture
def say(monkeypatch):
    monkeypatch.delenv("ADMIN_BIND_FILE", raising=False)

    def say(value: str):
        monkeypatch.setenv("ADMIN_BIND", value)
        return addresses("ADMIN_BIND", "")

    return say


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("", []),
        ("127.0.0.1:9000", [("127.0.0.1:9000", ("127.0.0.1", 9000))]),
        ("localhost:9000", [("localhost:9000", ("127.0.0.1", 9000))]),
        ("tcp://127.0.0.1:9000", [("127.0.0.1:9000", ("127.0.0.1", 9000))]),
        (":9000", [("0.0.0.0:9000", ("0.0.0.0", 9000))]),
        ("[::1]:9000", [("[::1]:9000", ("::1", 9000))]),
        ("[::]:9000", [("[::]:9000", ("::", 9000))]),
        ("unix:/tmp/admin.sock", [("unix:/tmp/admin.sock", "/tmp/admin.sock")]),
        ("unix:///tmp/admin.sock", [("unix:/tmp/admin.sock", "/tmp/admin.sock")]),
        (
            " 127.0.0.1:9000, [::1]:9000 ,",
            [("127.0.0.1:9000", ("127.0.0.1", 9000)), ("[::1]:9000", ("::1", 9000))],
        ),
    ],
)
def test_an_address_is_read(say, value, read):
    assert [(address.text, address.name) for address in say(value)] == read


@pytest.mark.parametrize(
    "value",
    [
        "9000",
        "localhost",
        "localhost:",
        "localhost:http",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:9000:1",
        "::1:9000",
        "[::1]",
        "[localhost]:9000",
        "[127.0.0.1]:9000",
        "http://127.0.0.1:9000",
        "127.0.0.1:9000/",
        "no.such.host.invalid:9000",
        "127.0.0.1:٩٠٠٠",
        "a b:9000",
        "unix:",
        "unix:/none/at/all",
        "unix:/tmp/" + "x" * 200,
        "fd://",
        "fd://x",
        "fd://-1",
        "fd://9999",
        "fd://" + "9" * 40,
        "127.0.0.1:9000,nonsense",
        "x" * 300 + ":9000",
        "ü" * 70 + ":9000",
    ],
)
def test_anything_but_an_address_is_one_sentence_that_names_the_variable(say, value):
    with pytest.raises(BadSetting) as told:
        say(value)
    assert str(told.value).startswith("ADMIN_BIND=") and str(told.value).endswith(".") and "\n" not in str(told.value)


def test_a_socket_that_was_handed_over_is_an_address(say):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (address,) = say(f"fd://{listener.fileno()}")
        assert is_bound_to(listener, {address.name})
        with socket.create_server(("127.0.0.1", 0)) as other:
            assert not is_bound_to(other, {address.name})
        with pytest.raises(BadSetting, match="fd:// cannot be mixed with other addresses"):
            require_apart([address], say("127.0.0.1:9000"))


@pytest.mark.parametrize(
    ("public", "admin", "apart"),
    [
        ("127.0.0.1:8000", "127.0.0.1:9000", True),
        ("127.0.0.1:8000", "127.0.0.2:8000", True),
        ("127.0.0.1:8000", "localhost:8000", False),
        ("0.0.0.0:8000", "127.0.0.1:8000", False),
        (":8000", "[::1]:8000", False),
        ("unix:/tmp/a", "unix:///tmp/a", False),
        ("127.0.0.1:8000,127.0.0.1:8000", "", False),
    ],
)
def test_two_listeners_need_two_addresses(say, public, admin, apart):
    both = say(public), say(admin)
    if apart:
        require_apart(*both)
    else:
        with pytest.raises(
            BadSetting, match=r"^BIND and ADMIN_BIND: .* are the same address: choose different ones\.$"
        ):
            require_apart(*both)
