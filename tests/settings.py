"""The product's settings with the tests' own secrets and stores. Nothing comes from the machine's environment."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_DIRECTORY = os.environ.get("AUTHSVC_TEST_DIR") or tempfile.mkdtemp(prefix="authsvc-test-")
if (_worker := os.environ.get("PYTEST_XDIST_WORKER")) and Path(_DIRECTORY).name != _worker:
    _DIRECTORY = f"{_DIRECTORY}/{_worker}"  # each worker has a database and a Redis
    Path(_DIRECTORY).mkdir(exist_ok=True)
os.environ["AUTHSVC_TEST_DIR"] = _DIRECTORY  # for the processes that tests start

for _name in [name for name in os.environ if name.startswith("AUTHSVC_") and not name.startswith("AUTHSVC_TEST_")]:
    del os.environ[_name]
os.environ.pop("DEBUG", None)
os.environ["SECRET_KEY"] = "of-the-tests-" + "x" * 40
os.environ["KEY_PEPPER"] = "pepper-of-the-tests-" + "x" * 40
os.environ["DATABASE_URL"] = os.environ.get("AUTHSVC_TEST_DATABASE_URL", f"sqlite:///{_DIRECTORY}/db.sqlite3")
os.environ["REDIS_URL"] = f"unix://{_DIRECTORY}/redis.sock?db=9"  # conftest.py starts it there
os.environ["ALLOWED_HOSTS"] = "*"

from authsvc.settings import *  # noqa: E402, F403
from authsvc.settings import DATABASES  # noqa: E402

STATIC_ROOT = Path(tempfile.mkdtemp(prefix="static-", dir=_DIRECTORY))
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES["default"]["CONN_MAX_AGE"] = 0
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, because the gate's look-ups read it from other threads.
    DATABASES["default"]["TEST"] = {"NAME": f"{_DIRECTORY}/test.sqlite3"}
    # No test cuts the power, and waiting for the disk took longer than the tests.
    DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
WHITENOISE_USE_FINDERS = False  # searching for all static files takes longer than most tests
