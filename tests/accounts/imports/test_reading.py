"""Imports: what is refused and why, what is imported, and that the gate accepts it."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections, transaction

from accounts.facts.publish import Publication, models_base
from accounts.imports import jobs, reading
from accounts.imports.reading import LONGEST_LINE, Line, LineOutcome, Unreadable, import_lines, read_lines
from accounts.keys import digest_imported
from accounts.management.commands import import_keys as command
from accounts.models import Account, ApiKey, AuditEvent, ImportJob, ImportLine, KeySecret, OutboxRow, User
from accounts.peppers import peppers
from accounts.services.accounts import cap_keys, close_account, create_account
from accounts.services.acts import Actor
from accounts.services.keys import revoke_key
from accounts.services.sweeping import sweep_imports
from runtime.commands import PENDING
from tests.conftest import ACTOR
from tests.gate.conftest import ask  # noqa: F401

pytestmark = pytest.mark.django_db

HEADER = "account,name,key\n"


def key_number(number: int) -> str:
    return f"sk-other-{number:012d}"


def file_of(*rows: str, header: str = HEADER) -> list[str]:
    return [header, *(f"{row}\n" for row in rows)]


def run(lines: list[str], **more) -> list[LineOutcome]:
    read = list(read_lines(lines))
    outcomes, _ = import_lines([line for line in read if isinstance(line, Line)], actor=ACTOR, **more)
    return sorted([*outcomes, *(line for line in read if isinstance(line, LineOutcome))])


REFUSED = {
    "acme,short,012345678901234": "16 to 512",
    "acme,long," + "x" * 513: "16 to 512",
    "acme,ours,ask_0123456789abcdef": "like keys of this service",
    "acme,not ascii,0123456789abcdé0": "visible ASCII",
    "acme,a space,01234567 89abcdef": "visible ASCII",
    'acme,a comma,"01234567,89abcdef"': "no comma",
    "acme,,0123456789abcdef": "The name must have",
    "acme,\x1b[2Jname,0123456789abcdef": "U+001B is not allowed",
    "acme," + "n" * 201 + ",0123456789abcdef": "The name must have",
    "acme,few": "3 columns",
    "acme,many,0123456789abcdef,x": "3 columns",
    'acme,"open,0123456789abcdef': "3 columns",
    "nobody,name,0123456789abcdef": "No account has the id",
    ",name,0123456789abcdef": "Name the account",
    "shut,name,0123456789abcdef": "closed",
    "acme," + "x" * 9000 + ",y": "8192",
}


@pytest.mark.parametrize("row", REFUSED, ids=list(REFUSED.values()))
def test_an_invalid_line_is_refused_with_a_reason_and_the_others_are_imported(account, row):
    closed, _ = create_account("shut", account.plan, external_id="shut", actor=ACTOR)
    close_account(closed, actor=ACTOR)
    first, second, third = run(file_of(f"acme,one,{key_number(1)}", row, f"acme,two,{key_number(2)}"))
    assert (first.word, third.word) == ("imported", "imported")
    assert (second.number, second.word) == (3, "refused")
    assert REFUSED[row] in second.why
    assert "0123456789abcd" not in second.why


OF_A_COLUMN = {
    ("sha256", "xyz"): "64 hexadecimal",
    ("expires_at", "2031-01-31"): "with an offset",
    ("expires_at", "2031-02-31T00:00:00Z"): "with an offset",
    ("expires_at", "2001-01-31T00:00:00Z"): "has passed",
    ("expires_at", "9999-12-31T23:59:59-12:00"): "with an offset",
    ("models", "sm nothing"): "Unknown model nothing",
    ("start", "x" * 25): "24 characters",
    ("account", "other"): "No account has the id",
}


@pytest.mark.parametrize(("column", "value"), OF_A_COLUMN)
def test_every_column_is_checked(account, column, value):
    row = {"account": "acme", "name": "n", "sha256": "0" * 64, "start": "", "expires_at": "", "models": ""} | {
        column: value
    }
    (outcome,) = run([",".join(row) + "\n", ",".join(row.values()) + "\n"])
    assert outcome.word == "refused"
    assert OF_A_COLUMN[column, value] in outcome.why


@pytest.mark.parametrize("header", ["", "name\n", "name,key,sha256\n", "name,key,key\n", "name,key,secret\n", "key\n"])
def test_a_file_without_the_right_columns_is_refused_as_a_whole(catalogue, header):
    with pytest.raises(Unreadable, match=r"The header m(ay|ust) contain"):
        list(read_lines([header, "a,b,c\n"]))


def test_a_line_that_names_its_account_twice_is_refused(account):
    (outcome,) = run(file_of(f"acme,acme,one,{key_number(1)}", header="account,external_id,name,key\n"))
    assert outcome.word == "refused" and "Name the account" in outcome.why


def test_all_columns_together(account):
    models_base(Account).filter(pk=account.pk).update(external_id="cus_42")
    digest = hashlib.sha256(key_number(1).encode()).hexdigest().upper()
    header = "\ufeffModels, expires_at,start,sha256,name,external_id\r\n"
    (outcome,) = run([header, f"lg sm,2031-01-31T12:00:00+02:00,sk-ot,{digest},a name,cus_42\r\n", "\r\n"])
    assert outcome.word == "imported", outcome.why
    key = ApiKey.objects.get(public_id=outcome.key)
    assert (key.account, key.name, key.narrowed_to) == (account, "a name", ["lg", "sm"])
    assert key.expires_at is not None and key.expires_at.isoformat() == "2031-01-31T10:00:00+00:00"
    secret, current = key.secrets.get(), peppers()[0].id
    assert (secret.start, secret.is_imported) == ("sk-ot", True)
    assert (secret.pepper, secret.minted_pepper) == (current, current)
    event = AuditEvent.objects.latest("id")
    assert (event.act, event.subject) == ("key.import", key.public_id)
    assert event.after and event.after["name"] == "a name"


def test_a_key_repeated_in_a_file_is_refused_and_in_a_second_run_already_imported(account):
    lines = file_of(f"acme,one,{key_number(1)}", f"acme,two,{key_number(2)}", f"acme,again,{key_number(1)}")
    assert [outcome.word for outcome in run(lines)] == ["imported", "imported", "refused"]
    again = run(lines)
    assert [outcome.word for outcome in again] == ["already_there", "already_there", "refused"]
    assert again[2].why == "Same key as in line 2."
    assert ApiKey.objects.count() == 2


def test_another_accounts_key_and_a_revoked_key_are_not_imported_again(account, pro_account):
    (first,) = run(file_of(f"acme,one,{key_number(1)}"))
    assert (
        run(file_of(f"{pro_account.public_id},one,{key_number(1)}"))[0].why
        == "A different account already has this key."
    )
    revoke_key(ApiKey.objects.get(public_id=first.key), actor=ACTOR)
    assert "is revoked" in run(file_of(f"acme,one,{key_number(1)}"))[0].why
    assert ApiKey.objects.count() == 1


def test_an_import_for_one_account_refuses_lines_that_name_another(account, pro_account):
    outcomes = run(
        file_of(f",a,{key_number(1)}", f"acme,b,{key_number(2)}", f"pro-acme,c,{key_number(3)}"), account=account
    )
    assert [outcome.word for outcome in outcomes] == ["imported", "imported", "refused"]


@pytest.mark.django_db(transaction=True)
def test_a_dry_run_reports_the_same_and_changes_nothing(account, redis_db):
    lines = file_of(f"acme,one,{key_number(1)}", "acme,two,short")
    before = redis_db.hgetall(redis_db.keys("*:a:*")[0])
    outcomes = run(lines, dry_run=True)
    assert [(outcome.word, outcome.key) for outcome in outcomes] == [("imported", ""), ("refused", "")]
    assert (ApiKey.objects.count(), AuditEvent.objects.filter(act="key.import").count()) == (0, 0)
    assert redis_db.hgetall(redis_db.keys("*:a:*")[0]) == before


def test_keys_imported_before_a_change_of_the_pepper_are_recognized(account, settings):
    lines = file_of(f"acme,one,{key_number(1)}")
    run(lines)
    settings.KEY_PEPPER_OLD, settings.KEY_PEPPER = settings.KEY_PEPPER, "another-pepper-" + "y" * 40
    assert run(lines)[0].word == "already_there"


@pytest.mark.django_db(transaction=True)
def test_concurrent_imports_of_the_same_file_import_each_key_once(account):
    cap_keys(account, 1000, actor=ACTOR)
    lines = file_of(*(f"acme,n,{key_number(number)}" for number in range(200)))

    def both(_) -> int:
        try:
            return sum(outcome.word == "imported" for outcome in run(lines))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(both, range(2))) == 200
    assert KeySecret.objects.count() == 200


def test_a_batch_takes_the_same_number_of_queries_however_many_keys_it_has(account, django_assert_max_num_queries):
    cap_keys(account, 1000, actor=ACTOR)
    for size in (20, 400):
        lines = file_of(*(f"acme,n,{key_number(size * 1000 + number)}" for number in range(size)))
        with django_assert_max_num_queries(45):
            assert {outcome.word for outcome in run(lines)} == {"imported"}


@pytest.mark.django_db(transaction=True)
def test_without_redis_the_batch_is_pending_and_the_worker_publishes_it(account, redis_away, redis_db, ask, settings):  # noqa: F811
    settings.IMPORTED_KEYS = True
    lines = list(read_lines(file_of(*(f"acme,n,{key_number(number)}" for number in range(30)))))
    with redis_away():
        _, publication = import_lines([line for line in lines if isinstance(line, Line)], actor=ACTOR)
    assert publication.is_pending
    assert OutboxRow.objects.count() == 30
    call_command("keep_ledger", once=True, stdout=StringIO())
    assert OutboxRow.objects.count() == 0
    assert ask(key_number(29)).status == 200


ROOM = {  # each line is as long as it may be, and one character more is too much
    "start": lambda more: ("name,sha256,start", f"n,{'0' * 64},{'s' * (24 + more)}"),
    "name": lambda more: ("name,sha256", f"{'n' * (200 + more)},{'0' * 64}"),
    "key": lambda more: ("name,key", f"n,{'k' * (512 + more)}"),
    "line": lambda more: ("name,key,models", f"n,{key_number(1)},sm".ljust(LONGEST_LINE - 1 + more)),
}


@pytest.mark.parametrize("what", ROOM)
def test_everything_in_a_line_may_be_as_long_as_is_allowed(account, what):
    for more, word in ((1, "refused"), (0, "imported")):
        header, row = ROOM[what](more)
        (outcome,) = run(file_of(row, header=f"{header}\n"), account=account)
        assert outcome.word == word, outcome.why


@pytest.mark.parametrize("most", [2, 3])
def test_a_file_may_have_as_many_lines_as_is_allowed(catalogue, most):
    lines = file_of(*(f"acme,n,{key_number(number)}" for number in range(3)))
    if most == 3:
        assert len(list(read_lines(lines, most))) == 3
    else:
        with pytest.raises(Unreadable, match="more than 2 lines"):
            list(read_lines(lines, most))


def test_a_key_that_was_imported_a_moment_ago_is_there_already(account, monkeypatch):
    """Two imports for different accounts wait for no common lock."""
    lines = file_of(f"acme,one,{key_number(1)}")
    run(lines)
    looks = iter([lambda *_: {}, reading._already_there])

    def already_there(*args):
        return next(looks)(*args)

    monkeypatch.setattr(reading, "_already_there", already_there)
    (outcome,) = run(lines)
    assert outcome.word == "already_there"


def test_the_audit_log_tells_from_where_a_key_was_imported_and_by_whom(account):
    lines = [line for line in read_lines(file_of(f"acme,one,{key_number(1)}")) if isinstance(line, Line)]
    mara = User.objects.create_user("mara")
    import_lines(lines, actor=Actor("mara", "203.0.113.9", mara))
    event = AuditEvent.objects.latest("id")
    assert (event.act, event.actor, event.address) == ("key.import", "mara", "203.0.113.9")
    assert event.account == account.public_id and event.before is None


def test_a_model_that_is_named_twice_is_kept_once(account):
    run(file_of(f"acme,one,{key_number(1)},sm lg  sm", header="account,name,key,models\n"))
    assert ApiKey.objects.get().narrowed_to == ["sm", "lg"]


# The command


def imported(path, *args: str) -> str:
    out = StringIO()
    call_command("import_keys", str(path), *args, stdout=out, stderr=out)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_the_command_imports_and_reports_and_can_be_repeated(account, tmp_path, settings, ask):  # noqa: F811
    settings.IMPORTED_KEYS = True
    path, report = tmp_path / "keys.csv", tmp_path / "refused.csv"
    path.write_text("".join(file_of(f"acme,one,{key_number(1)}", "acme,two,short", f"acme,three,{key_number(3)}")))
    assert imported(path, "--dry-run") == "3 lines: 2 would be imported, 0 already imported, 1 refused\n"
    assert imported(path, "--report", str(report)) == "3 lines: 2 imported, 0 already imported, 1 refused\n"
    (row,) = csv.DictReader(report.read_text().splitlines())
    assert (row["number"], row["why"]) == ("3", "The key must have 16 to 512 characters.")
    assert imported(path) == "3 lines: 0 imported, 2 already imported, 1 refused\n"
    assert ask(key_number(1)).status == ask(key_number(3)).status == 200


def test_the_commands_dry_run_counts_what_earlier_batches_would_take(account, tmp_path, settings, monkeypatch):
    settings.IMPORTED_KEYS = True
    monkeypatch.setattr("accounts.management.commands.import_keys.BATCH", 2)
    cap_keys(account, 3, actor=ACTOR)
    path = tmp_path / "keys.csv"
    path.write_text("".join(file_of(*(f"acme,n,{key_number(number)}" for number in range(5)))))
    assert imported(path, "--dry-run") == "5 lines: 3 would be imported, 0 already imported, 2 refused\n"
    assert imported(path) == "5 lines: 3 imported, 0 already imported, 2 refused\n"


def test_a_key_is_imported_under_the_current_pepper_beside_an_old_one(account, settings):
    settings.KEY_PEPPER_OLD = "an-old-pepper-" + "z" * 40
    run(file_of(f"acme,one,{key_number(1)}"))
    secret, current = KeySecret.objects.get(), peppers()[0]
    assert (secret.pepper, secret.digest) == (current.id, digest_imported(key_number(1).encode(), current).hex())


def test_the_command_explains_errors_in_one_sentence(account, tmp_path, settings):
    (tmp_path / "bad.csv").write_text("a,b\n")
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"acme,\xe9,x\n")
    for name, words in {"bad.csv": "header may contain", "latin.csv": "UTF-8", "none.csv": "No such file"}.items():
        with pytest.raises(CommandError, match=words):
            imported(tmp_path / name)
    (tmp_path / "good.csv").write_text("".join(file_of(f"acme,one,{key_number(1)}")))
    assert "AUTHSVC_IMPORTED_KEYS=1" in imported(tmp_path / "good.csv")


def test_the_command_is_pending_if_any_of_its_batches_is(account, tmp_path, settings, monkeypatch):
    """The last one may be published, because Redis is back."""
    settings.IMPORTED_KEYS = True
    monkeypatch.setattr(command, "BATCH", 2)
    pending = iter([True, False, False])

    def one_batch(lines, **_) -> tuple[list[LineOutcome], Publication]:
        publication = Publication()
        publication.published = not next(pending)
        return [LineOutcome(line.number, "imported") for line in lines], publication

    monkeypatch.setattr(command, "import_lines", one_batch)
    path = tmp_path / "keys.csv"
    path.write_text("".join(file_of(*(f"acme,n,{key_number(number)}" for number in range(5)))))
    with pytest.raises(CommandError, match="the keys are saved") as told:
        imported(path)
    assert told.value.returncode == PENDING


@pytest.mark.parametrize("longer", [1, 2, LONGEST_LINE, 3 * LONGEST_LINE + 1])
def test_the_command_refuses_a_line_that_is_too_long_as_one_line(account, tmp_path, settings, longer):
    """It reads no more of it than it needs to, and of what is left it makes no line."""
    settings.IMPORTED_KEYS = True
    path, report = tmp_path / "keys.csv", tmp_path / "refused.csv"
    row = f"acme,long,{key_number(1)}".ljust(LONGEST_LINE - 1 + longer)
    path.write_text("".join(file_of(row, f"acme,short,{key_number(2)}")))
    assert imported(path, "--report", str(report)) == "2 lines: 1 imported, 0 already imported, 1 refused\n"
    (told,) = csv.DictReader(report.read_text().splitlines())
    assert told["number"] == "2" and str(LONGEST_LINE) in told["why"]
    assert ApiKey.objects.get().name == "short"


# Jobs


def job_of(lines: list[str], account: Account | None = None, *, dry_run: bool = False) -> ImportJob:
    return jobs.receive(lines, actor=ACTOR, account=account, dry_run=dry_run)


def test_the_worker_processes_a_job_in_its_turns(account):
    job = job_of(file_of(f"acme,one,{key_number(1)}", "acme,two,short", "nobody,three,0123456789abcdef"))
    assert (job.state, job.lines, job.refused) == ("waiting", 3, 1)
    call_command("keep_ledger", once=True, stdout=StringIO())
    job.refresh_from_db()
    assert (job.state, job.imported, job.refused, job.already_there) == ("done", 1, 2, 0)
    assert job.finished_at is not None
    assert [(row.number, row.outcome) for row in job.rows.all()] == [(2, "imported"), (3, "refused"), (4, "refused")]


def test_no_key_is_stored_with_a_job(account):
    job = job_of(file_of(f"acme,one,{key_number(1)}"))
    kept = str(list(ImportLine.objects.values())) + str(list(ImportJob.objects.values()))
    assert key_number(1) not in kept
    assert hashlib.sha256(key_number(1).encode()).hexdigest() not in kept
    jobs.work_on_imports(60)
    assert ImportLine.objects.get(job=job).says is None


def test_a_worker_that_dies_in_a_batch_loses_and_repeats_nothing(account, monkeypatch):
    monkeypatch.setattr(jobs, "BATCH", 10)
    job = job_of(file_of(*(f"acme,n,{key_number(number)}" for number in range(25))))
    assert jobs._work_on_a_batch() == 10

    def die(*_, **__):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "_keep_outcomes", die)
        with pytest.raises(RuntimeError):
            jobs.work_on_imports(60)
    assert ApiKey.objects.count() == 10
    jobs.work_on_imports(60)
    job.refresh_from_db()
    assert (job.state, job.imported, job.already_there) == ("done", 25, 0)


def test_an_unexpected_error_in_one_line_stops_neither_the_others_nor_the_worker(account, monkeypatch):
    new_key = reading._new

    def fail_for_one(line, *rest):
        if line.number == 4:
            raise ZeroDivisionError
        return new_key(line, *rest)

    monkeypatch.setattr(reading, "_new", fail_for_one)
    job = job_of(file_of(*(f"acme,n,{key_number(number)}" for number in range(5))))
    jobs.work_on_imports(60)
    job.refresh_from_db()
    assert (job.state, job.imported, job.refused) == ("done", 4, 1)
    assert "worker's log" in job.rows.get(outcome="refused").why


def test_a_database_that_fails_is_no_fault_of_the_lines(account, monkeypatch):
    """They wait for it: reported as refused, they would never be imported."""
    job = job_of(file_of(f"acme,one,{key_number(1)}", f"acme,two,{key_number(2)}"))

    def fail(*_, **__):
        raise OperationalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(reading, "_new", fail)
        with pytest.raises(OperationalError):
            jobs.work_on_imports(60)
    assert {row.outcome for row in job.rows.all()} == {"waiting"}
    jobs.work_on_imports(60)
    job.refresh_from_db()
    assert (job.state, job.imported) == ("done", 2)


def test_a_job_counts_over_all_its_batches(account, monkeypatch):
    monkeypatch.setattr(jobs, "BATCH", 2)
    cap_keys(account, 3, actor=ACTOR)
    lines = file_of(*(f"acme,n,{key_number(number)}" for number in range(6)))
    for counts in ((3, 0, 3), (0, 3, 3)):
        job = job_of(lines)
        jobs.work_on_imports(60)
        job.refresh_from_db()
        assert (job.imported, job.already_there, job.refused) == counts


def test_keys_of_other_accounts_are_counted_over_all_batches(account, pro_account, monkeypatch):
    monkeypatch.setattr(jobs, "BATCH", 2)
    theirs = [f"k,{key_number(number)}" for number in range(5)]
    job_of(["name,key\n", *(f"{line}\n" for line in theirs)], pro_account)
    job = job_of(["name,key\n", *(f"{line}\n" for line in theirs)], account)
    jobs.work_on_imports(60)
    job.refresh_from_db()
    assert (job.state, job.refused, job.foreign) == ("done", 5, 5)


@pytest.mark.django_db(transaction=True)
def test_two_workers_share_jobs(account, monkeypatch):
    monkeypatch.setattr(jobs, "BATCH", 10)
    two = [job_of(file_of(*(f"acme,n,{key_number(j * 100 + n)}" for n in range(45)))) for j in range(2)]

    def work(_) -> None:
        try:
            jobs.work_on_imports(60)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    for job in two:
        job.refresh_from_db()
        assert (job.state, job.imported, job.refused, job.already_there) == ("done", 45, 0, 0)


def test_an_unreadable_upload_leaves_nothing(account, monkeypatch):
    monkeypatch.setattr(reading, "MOST_LINES", 5)
    with pytest.raises(Unreadable, match="more than 5"):
        job_of(file_of(*(f"acme,n,{key_number(number)}" for number in range(6))))
    with pytest.raises(Unreadable, match="no lines"):
        job_of(file_of())
    assert not ImportJob.objects.exists() and not ImportLine.objects.exists()


@pytest.mark.parametrize("error", [ConnectionResetError, KeyboardInterrupt])
def test_an_upload_that_breaks_off_leaves_nothing(account, monkeypatch, error):
    monkeypatch.setattr(jobs, "BATCH", 2)

    def broken_off() -> Iterator[str]:
        yield from file_of(*(f"acme,n,{key_number(number)}" for number in range(5)))
        raise error

    with pytest.raises(error):
        jobs.receive(broken_off(), actor=ACTOR, account=None, dry_run=False)
    assert not ImportJob.objects.exists() and not ImportLine.objects.exists()


def test_the_import_that_waits_longest_is_done_first(account, monkeypatch):
    monkeypatch.setattr(jobs, "BATCH", 2)
    first, second = (job_of(file_of(*(f"acme,n,{key_number(j * 10 + n)}" for n in range(3)))) for j in range(2))
    done: list[tuple[int, int]] = []
    while jobs._work_on_a_batch():
        for job in (first, second):
            job.refresh_from_db()
        done.append((first.imported, second.imported))
    assert done == [(2, 0), (3, 0), (3, 0), (3, 2), (3, 3), (3, 3)]


def test_of_two_workers_at_the_end_of_an_import_one_writes_it_down(account, monkeypatch):
    job_of(file_of(f"acme,one,{key_number(1)}"))
    jobs._work_on_a_batch()
    atomic = transaction.atomic

    def after_the_other(*args, **options):
        monkeypatch.setattr(transaction, "atomic", atomic)
        jobs._work_on_a_batch()
        return atomic(*args, **options)

    monkeypatch.setattr(transaction, "atomic", after_the_other)
    jobs._work_on_a_batch()
    assert AuditEvent.objects.filter(act="import.end").count() == 1


def test_a_change_of_the_pepper_after_the_upload_is_reported(account, settings):
    job = job_of(file_of(f"acme,one,{key_number(1)}"))
    settings.KEY_PEPPER = "another-pepper-" + "y" * 40
    jobs.work_on_imports(60)
    assert "KEY_PEPPER was changed" in job.rows.get().why


def test_old_reports_and_unfinished_uploads_are_deleted(account):
    job = job_of(file_of(f"acme,one,{key_number(1)}"))
    jobs.work_on_imports(60)
    sweep_imports()
    assert ImportJob.objects.count() == 1
    ImportJob.objects.filter(pk=job.pk).update(finished_at="2020-01-01T00:00:00Z")
    ImportJob.objects.create(public_id="x" * 16, actor="a", is_dry_run=False)
    ImportJob.objects.filter(public_id="x" * 16).update(created_at="2020-01-01T00:00:00Z")
    sweep_imports()
    assert ImportJob.objects.count() == 0
