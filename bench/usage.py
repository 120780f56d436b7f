"""Queries of a year of usage: 1,000 keys, every hour, 8.76 million rows, in a PostgreSQL database of its own.

    python -m bench.usage postgres://USER@HOST/postgres

Creates a database, migrates and fills it, lets the worker's code add up the days, prints how long queries take and
which indexes they use, and drops the database.
"""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter

import psycopg

KEYS, HOURS = 1000, 8760
NAME = "authsvc_bench_usage"
START = datetime(2025, 1, 1, tzinfo=UTC)
END = START + timedelta(hours=HOURS)
# One account with half of the keys, and 50 accounts with 10 each.
FILL = """
    INSERT INTO quotas_usagehour (account, key, model, hour, birth, allowed, refused, shadow_refused, units)
    SELECT account, account || lpad(k::text, 8, '0'), 'sm', hour, 1, 40 + k %% 7, k %% 3, 0, 40 + k %% 7
    FROM generate_series(%s::timestamptz, %s::timestamptz - interval '1 hour', interval '1 hour') AS hour,
    generate_series(0, %s - 1) AS k,
    LATERAL (SELECT CASE WHEN k < 500 THEN 'AAAAAAAA' ELSE 'B' || lpad((k / 10)::text, 7, '0') END AS account) AS a
"""


def main(url: str) -> None:
    base = url.rpartition("/")[0]
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {NAME}")
        admin.execute(f"CREATE DATABASE {NAME}")
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "authsvc.settings",
        "DATABASE_URL": f"{base}/{NAME}",
        "SECRET_KEY": "x" * 50,
        "KEY_PEPPER": "y" * 50,
        "REDIS_URL": f"unix://{tempfile.gettempdir()}/none.sock",
    }
    try:
        _measure()
    finally:
        from django.db import connections

        connections.close_all()
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {NAME}")


def _measure() -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from quotas.usage import days, sums
    from quotas.usage.reading import UsageSelection

    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        print(f"{KEYS * HOURS:,} hours written in {_seconds(lambda: cursor.execute(FILL, [START, END, KEYS])):.0f} s")
        print(f"365 days added up in {_seconds(lambda: days.keep_days(3600)):.0f} s")
        print(f"and summed in {_seconds(lambda: sums.keep_sums(3600)):.0f} s")
        cursor.execute("VACUUM ANALYZE")
    account = ("AAAAAAAA",)
    print(f"{'':58} {'first':>9} {'median':>9}  read by")
    for name, selection in {
        "a year as one total, all accounts": UsageSelection(start=START, end=END),
        "a year by month, all accounts": UsageSelection(start=START, end=END, interval="month"),
        "a year by month and key, all accounts": UsageSelection(
            start=START, end=END, interval="month", groups=("key",)
        ),
        "a year by day, an account of 500 keys": UsageSelection(start=START, end=END, interval="day", accounts=account),
        "a year by day and key, an account of 500 keys": UsageSelection(
            start=START, end=END, interval="day", groups=("key",), accounts=account
        ),
        "a year by day, one key": UsageSelection(
            start=START, end=END, interval="day", accounts=account, keys=("AAAAAAAA00000007",)
        ),
        "a year by hour and key, all accounts": UsageSelection(start=START, end=END, interval="hour", groups=("key",)),
        "a year by hour, an account of 500 keys": UsageSelection(
            start=START, end=END, interval="hour", accounts=account
        ),
        "a month's invoices: one total per account": UsageSelection(
            start=datetime(2025, 6, 1, tzinfo=UTC), end=datetime(2025, 7, 1, tzinfo=UTC), groups=("account",)
        ),
        "the same from 07:00 to 19:00": UsageSelection(
            start=datetime(2025, 6, 1, 7, tzinfo=UTC), end=datetime(2025, 7, 1, 19, tzinfo=UTC), groups=("account",)
        ),
    }.items():
        _report(name, selection)


def _report(name: str, selection: object) -> None:
    from django.db import connection

    from quotas.usage import days, reading

    times = [_seconds(lambda: reading.read_usage(selection, most=1000)) for _ in range(5)]  # type: ignore[arg-type]
    parts = list(reading.parts_of(selection, days.USAGE, days.complete_since()))  # type: ignore[arg-type]
    statement, values = reading._statement(selection, parts, None)  # type: ignore[arg-type]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement} LIMIT 1000", values)
        plan = [line for (line,) in cursor.fetchall()]
    scans = [line.split("(cost")[0].strip(" ->") for line in plan if "Scan" in line]
    print(f"{name:58} {times[0] * 1000:6.0f} ms {median(times) * 1000:6.0f} ms  {'; '.join(scans)}")


def _seconds(act) -> float:  # type: ignore[no-untyped-def]
    begin = perf_counter()
    act()
    return perf_counter() - begin


if __name__ == "__main__":
    main(sys.argv[1])
