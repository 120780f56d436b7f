"""100,000 keys of another system: imported in bounded memory, and the gate takes the first and the last."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from accounts.models import ApiKey
from accounts.services.accounts import cap_keys
from accounts.services.keys import revoke_key
from tests.conftest import ACTOR
from tests.gate.conftest import ask  # noqa: F401
from tests.gate.test_fronts import environment
from tests.servers import ROOT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

KEYS = 100_000
MOST_MORE_MEGABYTES = 64  # than for 1,000 keys: what remembers which keys the file had, and a batch


def text_of(number: int) -> str:
    return f"sk-of-another-system-{number:012d}"


def write(path: Path, account: str, numbers: range) -> None:
    with path.open("w") as file:
        file.write("account,name,key\n")
        file.writelines(f"{account},customer {number},{text_of(number)}\n" for number in numbers)


def imported(path: Path) -> tuple[str, int]:
    """What the command printed, and its peak of memory in megabytes."""
    command = [sys.executable, "manage.py", "import_keys", str(path)]
    env = {**os.environ, **environment(), "AUTHSVC_IMPORTED_KEYS": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None and run.stderr is not None
        told, progress = run.stdout.read(), run.stderr.read()
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    assert run.returncode == 0, progress
    return progress + told, used.ru_maxrss // 1024


def test_100000_keys_are_imported_in_bounded_memory_and_work(account, tmp_path, settings, ask):  # noqa: F811
    settings.IMPORTED_KEYS = True
    cap_keys(account, KEYS, actor=ACTOR)
    write(tmp_path / "few.csv", account.public_id, range(1000))
    _, for_few = imported(tmp_path / "few.csv")
    write(tmp_path / "many.csv", account.public_id, range(KEYS))
    told, for_many = imported(tmp_path / "many.csv")
    assert told.splitlines()[-1] == f"{KEYS} lines: {KEYS - 1000} imported, 1000 already imported, 0 refused"
    assert len(told.splitlines()) == 1 + KEYS // 10_000  # progress
    assert for_many - for_few < MOST_MORE_MEGABYTES
    for number in (0, KEYS - 1):
        assert ask(text_of(number)).status == 200
    revoke_key(ApiKey.objects.get(name=f"customer {KEYS - 1}"), actor=ACTOR)
    assert ask(text_of(KEYS - 1)).status == 401
