"""A PostgreSQL database that can't store every name is refused while it is empty; later there is a warning."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import quote

import pytest
from django.db import connection

from tests.servers import ROOT

NAME = "authsvc_in_sql_ascii"


@pytest.fixture
def in_sql_ascii(transactional_db):
    """The address of a new database in SQL_ASCII, on the tests' server."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite is always in UTF-8")
    run_alone(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
    run_alone(f"CREATE DATABASE {NAME} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    is_at = connection.settings_dict
    password = f":{quote(is_at['PASSWORD'], safe='')}" if is_at["PASSWORD"] else ""
    port = f":{is_at['PORT']}" if is_at["PORT"] else ""
    yield f"postgres://{is_at['USER']}{password}@{quote(is_at['HOST'], safe='')}{port}/{NAME}"
    run_alone(f"DROP DATABASE {NAME} WITH (FORCE)")


def run_alone(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


def migrate(url, *options):
    """Runs a command like the stacks do, with its own settings."""
    env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE")}
    return subprocess.run(
        [sys.executable, "manage.py", "migrate", *options],
        cwd=ROOT,
        env=env | {"DATABASE_URL": url, "DEBUG": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_empty_database_in_a_different_encoding_is_refused(in_sql_ascii):
    done = migrate(in_sql_ascii)
    assert done.returncode == 1
    assert "authsvc.E009" in done.stderr and "ENCODING 'UTF8'" in done.stderr
    assert "Applying" not in done.stdout


def test_for_a_database_in_use_there_is_a_warning(in_sql_ascii):
    assert migrate(in_sql_ascii, "--skip-checks", "contenttypes").returncode == 0
    done = migrate(in_sql_ascii, "contenttypes")
    assert done.returncode == 0, done.stderr
    assert "authsvc.W003" in done.stderr
