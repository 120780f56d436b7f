"""Where a demo lives: its folder, ports and addresses."""

from __future__ import annotations

import fcntl
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from .obstacle import Obstacle
from .ports import HOST, free_ports

CHECKOUT = Path(__file__).resolve().parents[2]
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER")


@dataclass(frozen=True, slots=True)
class DemoPlace:
    """The port `gateway` and the next one are public; the other ports are chosen anew at each start."""

    root: Path
    gateway: int
    gate: int
    store: int
    admins: tuple[int, int]
    models: tuple[int, ...]
    console: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "console", self.gateway + 1)

    @property
    def gateway_url(self) -> str:
        return f"http://{HOST}:{self.gateway}"

    @property
    def console_url(self) -> str:
        return f"http://{HOST}:{self.console}"

    @property
    def gate_url(self) -> str:
        return f"http://{HOST}:{self.gate}"

    @property
    def logs(self) -> Path:
        return self.root / "log"

    @property
    def keys(self) -> Path:
        return self.root / "keys.env"

    @property
    def people(self) -> Path:
        return self.root / "people.txt"

    @property
    def ready(self) -> Path:
        return self.root / "ready"


def take_place(root: Path, gateway: int, *, models: int) -> DemoPlace:
    """Create the folder, readable only by its owner, and choose the internal ports."""
    gate, store, gate_admin, console_admin, *others = free_ports(4 + models, except_for=(gateway, gateway + 1))
    place = DemoPlace(root.resolve(), gateway, gate, store, (gate_admin, console_admin), tuple(others))
    _make(place.root)
    _make(place.logs)
    place.ready.unlink(missing_ok=True)
    return place


def lock(root: Path) -> int:
    """Keep a second demo from sharing this folder's database and store. The lock ends with this process."""
    _make(root)
    handle = os.open(root / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Obstacle(
            f"A demo is already running in {root}: stop it, or choose another folder with DEMO_DIR."
        ) from error
    return handle


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Obstacle(
            f"The folder {folder} cannot be created: {error.strerror}. Choose another with DEMO_DIR."
        ) from error


def write_private(file: Path, text: str) -> None:
    """Write the file atomically, and never readable by others, not even for a moment."""
    draft = file.with_name(f"{file.name}.draft")
    draft.unlink(missing_ok=True)
    with open(draft, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
        out.write(text)
    draft.replace(file)


def secret_in(file: Path) -> str:
    """The secret in this file, made on the first start."""
    if not file.exists():
        write_private(file, secrets.token_urlsafe(48))
    return file.read_text(encoding="utf-8").strip()


def plain_environment() -> dict[str, str]:
    """The variables a process needs from ours, and no others: this shell's SECRET_KEY or HTTP_PROXY is not for it."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"PYTHONUNBUFFERED": "1"}
