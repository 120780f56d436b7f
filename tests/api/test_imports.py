"""Imports: uploads in both forms, progress, the report, and the bounds of an upload."""

from __future__ import annotations

import csv
import logging
from datetime import timedelta
from io import StringIO

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.imports import jobs, reading
from accounts.models import Account, ApiKey, AuditEvent, ImportJob, ManagementKey
from accounts.services.accounts import cap_keys
from store.throttles import IMPORTS as IMPORTS_A_DAY
from tests.accounts.imports.test_reading import key_number
from tests.api.callers import fill, member_of, operator, program_of
from tests.conftest import ACTOR
from tests.gate.conftest import ask  # noqa: F401

pytestmark = pytest.mark.django_db

IMPORTS = "/api/v1/imports/"
FILE = f"name,key\none,{key_number(1)}\ntwo,short\nthree,{key_number(3)}\n"


def upload(client, text: str = FILE, query: str = ""):
    return client.post(f"{IMPORTS}{query}", text, content_type="text/csv")


def turn() -> None:
    call_command("keep_ledger", once=True, stdout=StringIO())


@pytest.mark.django_db(transaction=True)
def test_an_upload_becomes_a_job_that_the_worker_does_and_reports(program, account, settings, ask):  # noqa: F811
    settings.IMPORTED_KEYS = True
    response = upload(program)
    job = response.json()
    assert response.status_code == 202
    assert response["Location"] == f"{IMPORTS}{job['id']}/"
    assert (job["state"], job["lines"], job["refused"], job["account"], job["warning"]) == (
        "waiting",
        3,
        1,
        account.public_id,
        None,
    )
    turn()
    done = program.get(response["Location"]).json()
    assert (done["state"], done["imported"], done["refused"], done["already_there"]) == ("done", 2, 1, 0)
    assert done["finished_at"]
    report = program.get(f"{response['Location']}report/").json()["results"]
    assert report == [{"line": 3, "outcome": "refused", "key": "", "why": "The key must have 16 to 512 characters."}]
    assert ask(key_number(1)).status == ask(key_number(3)).status == 200
    assert [one["id"] for one in program.get(IMPORTS).json()["results"]] == [job["id"]]


def test_a_dry_run_imports_nothing(program):
    response = upload(program, query="?dry_run=true")
    turn()
    done = program.get(response["Location"]).json()
    assert (done["dry_run"], done["imported"], done["refused"]) == (True, 2, 1)
    assert not ApiKey.objects.exists()


def test_the_file_may_also_come_in_a_form(program):
    response = program.post(IMPORTS, {"file": SimpleUploadedFile("keys.csv", FILE.encode(), "text/csv")})
    assert (response.status_code, response.json()["lines"]) == (202, 3)


def test_the_report_is_available_as_csv(program):
    where = upload(program)["Location"]
    turn()
    response = program.get(f"{where}report/?outcome=all&format=csv")
    rows = list(csv.DictReader(StringIO(b"".join(response.streaming_content).decode())))
    assert [(row["line"], row["outcome"]) for row in rows] == [("2", "imported"), ("3", "refused"), ("4", "imported")]
    assert rows[0]["key"] == ApiKey.objects.get(name="one").public_id
    response = program.get(f"{where}report/?format=csv")
    (refused,) = csv.DictReader(StringIO(b"".join(response.streaming_content).decode()))
    assert (refused["line"], refused["outcome"]) == ("3", "refused")


def test_an_operator_imports_for_many_accounts_by_its_own_ids(account, pro_account):
    models_base(Account).filter(pk=account.pk).update(external_id="cus_1")
    models_base(Account).filter(pk=pro_account.pk).update(external_id="cus_2")
    billing = operator("keys:write")
    text = f"external_id,name,key\ncus_1,a,{key_number(1)}\ncus_2,b,{key_number(2)}\ncus_3,c,{key_number(3)}\n"
    where = upload(billing, text)["Location"]
    turn()
    assert billing.get(where).json()["imported"] == 2
    assert {key.account for key in ApiKey.objects.all()} == {account, pro_account}
    assert program_of(account, "keys:write").get(where).status_code == 404


def test_a_customer_cannot_import_into_another_account(program, pro_account):
    where = upload(program, f"account,name,key\n{pro_account.public_id},a,{key_number(1)}\n")["Location"]
    turn()
    (line,) = program.get(f"{where}report/").json()["results"]
    assert "a different account" in line["why"]
    assert upload(program, query=f"?account={pro_account.public_id}").status_code == 404


@pytest.mark.parametrize("who", ["program", "operator"])
def test_an_upload_is_refused_before_it_is_read_where_imports_are_disabled(account, settings, who, monkeypatch):
    settings.IMPORTED_KEYS = False
    monkeypatch.setattr("api.imports.receive", lambda *args, **more: 1 / 0)
    monkeypatch.setattr("api.imports.CsvUpload.parse", lambda *args, **more: 1 / 0)
    answer = upload(operator("keys:write") if who == "operator" else program_of(account, "keys:write"))
    assert answer.status_code == 403
    assert "AUTHSVC_IMPORTED_KEYS=1" in answer.json()["detail"]
    assert not ImportJob.objects.exists()


def test_an_earlier_import_warns_when_gates_refuse_imported_keys(program, settings):
    where = upload(program)["Location"]
    settings.IMPORTED_KEYS = False
    assert "AUTHSVC_IMPORTED_KEYS=1" in program.get(where).json()["warning"]


def test_lines_beyond_the_keys_an_account_may_have_are_reported_and_imported_by_a_second_upload(program, account):
    cap_keys(account, 3, actor=ACTOR)
    text = "name,key\n" + "".join(f"k{number},{key_number(number)}\n" for number in range(5))
    where = upload(program, text)["Location"]
    turn()
    refused = program.get(f"{where}report/").json()["results"]
    assert [line["line"] for line in refused] == [5, 6]
    assert all("3 that are neither revoked nor expired" in line["why"] for line in refused)
    cap_keys(account, 5, actor=ACTOR)
    where = upload(program, text)["Location"]
    turn()
    done = program.get(where).json()
    assert (done["imported"], done["already_there"], done["refused"]) == (2, 3, 0)


def test_a_dry_run_over_many_batches_reports_lines_beyond_the_cap_too(program, account, monkeypatch):
    monkeypatch.setattr("accounts.imports.jobs.BATCH", 2)
    cap_keys(account, 3, actor=ACTOR)
    text = "name,key\n" + "".join(f"k{number},{key_number(number)}\n" for number in range(7))
    where = upload(program, text, "?dry_run=true")["Location"]
    turn()
    done = program.get(where).json()
    assert (done["state"], done["imported"], done["refused"]) == ("done", 3, 4)


def test_an_upload_has_at_most_twice_the_lines_of_the_keys_an_account_may_have(program, account, monkeypatch):
    monkeypatch.setattr("api.imports.LEAST_LINES", 1)
    cap_keys(account, 2, actor=ACTOR)
    text = "name,key\n" + "".join(f"k{number},{key_number(number)}\n" for number in range(5))
    answer = upload(program, text)
    assert answer.status_code == 400 and "more than 4 lines" in answer.json()["errors"][0]["detail"]
    assert not ImportJob.objects.exists()
    assert upload(operator("keys:write"), text, f"?account={account.public_id}").status_code == 202


def test_the_audit_log_names_the_person_who_uploaded_an_import(account):
    from accounts.models import AuditEvent

    upload(member_of(account, "owner"))
    turn()
    assert {event.actor for event in AuditEvent.objects.filter(act="key.import")} == {"owner"}


@pytest.mark.parametrize("by", ["a person", "a program"])
def test_imported_keys_belong_to_who_uploaded_them(account, by):
    """The console shows it, and what is left when a member leaves depends on it."""
    client = member_of(account, "owner") if by == "a person" else program_of(account, "keys:write")
    upload(client)
    turn()
    made_by = set(ApiKey.objects.values_list("created_by__username", "made_with"))
    program = ManagementKey.objects.values_list("public_id", flat=True).first()
    assert made_by == ({("owner", None)} if by == "a person" else {(None, program)})


WRONG = {
    "": "Send the file",
    "name,key\n": "no lines",
    "name,secret\na,b\n": "header may contain these columns",
}


@pytest.mark.parametrize("text", WRONG)
def test_an_unreadable_file_is_refused_at_once(program, text):
    response = upload(program, text)
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert error["field"] == "file" and WRONG[text] in error["detail"]
    assert not ImportJob.objects.exists()


def test_uploads_are_csv_or_a_form_of_bounded_size(program, monkeypatch):

    assert program.post(IMPORTS, {"name": "a"}, content_type="application/json").status_code == 415
    assert program.post(IMPORTS, {"file": "no file"}).status_code == 400
    assert program.post(IMPORTS, b"name,key\n\xe9", content_type="text/csv").status_code == 400
    assert upload(program, query="?dryrun=true").status_code == 400
    monkeypatch.setattr("api.imports.MOST_BYTES", 50)
    assert upload(program).status_code == 413
    assert not ImportJob.objects.exists()


def test_no_key_is_logged_or_answered(program, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    text = f"name,key\nbad,{key_number(1)} with a space\ngood,{key_number(2)}\n"
    response = upload(program, text)
    turn()
    report = program.get(f"{response['Location']}report/?outcome=all")
    said = caplog.text + "".join(capfd.readouterr()) + response.content.decode() + report.content.decode()
    assert "sk-other-" not in said


def test_too_many_uploads_are_throttled(program, account, redis_db):
    fill(redis_db, IMPORTS_A_DAY, account.public_id)
    answer = upload(program)
    assert (answer.status_code, ImportJob.objects.exists()) == (429, False)
    assert int(answer["Retry-After"]) > 0


@pytest.mark.parametrize("cell", ["\0", "a\0b", "\x7f"])
def test_a_line_that_no_database_can_store_is_refused_and_the_others_are_imported(program, cell):
    text = (
        f"account,name,key,models\n{cell},one,{key_number(1)},\n,two,{key_number(2)},{cell}\n,three,{key_number(3)},\n"
    )
    job = upload(program, text).json()
    assert (job["lines"], job["refused"]) == (3, 2)


# Otherwise stolen keys could be tested here unseen, by the million.


def work() -> None:
    """Process everything that waits, however busy the machine is."""
    jobs.work_on_imports(60)


def lines_of(program, where: str) -> dict[int, tuple[str, str]]:
    return {
        line["line"]: (line["outcome"], line["why"])
        for line in program.get(f"{where}report/?outcome=all").json()["results"]
    }


@pytest.fixture
def stolen(pro_account) -> list[str]:
    """Keys that belong to another account."""
    texts = [key_number(number) for number in range(100, 105)]
    upload(program_of(pro_account, "keys:write"), "".join(["name,key\n", *(f"k,{text}\n" for text in texts)]))
    work()
    return texts


def test_a_dry_run_reveals_nothing_about_other_accounts_keys(program, stolen):
    where = upload(program, f"name,key\na,{stolen[0]}\nb,{key_number(1)}\n", "?dry_run=true")["Location"]
    work()
    assert lines_of(program, where) == {2: ("imported", ""), 3: ("imported", "")}
    done = program.get(where).json()
    assert (done["imported"], done["refused"]) == (2, 0)


def test_a_dry_run_still_reports_the_accounts_own_keys(program, stolen):
    where = upload(program)["Location"]
    work()
    where = upload(program, query="?dry_run=true")["Location"]
    work()
    assert [word for word, _ in lines_of(program, where).values()] == ["already_there", "refused", "already_there"]


def test_an_import_refuses_another_accounts_key_without_saying_why(program, stolen):
    where = upload(program, f"name,key\na,{stolen[0]}\nb,{key_number(1)}\n")["Location"]
    work()
    assert lines_of(program, where) == {2: ("refused", "This key cannot be imported."), 3: ("imported", "")}
    assert "account" not in str(lines_of(program, where))


def test_an_operator_is_told_everything_even_by_a_dry_run(account, stolen):
    staff = operator("keys:write")
    for query in ("dry_run=true", "dry_run=false"):
        where = upload(staff, f"name,key\na,{stolen[0]}\n", f"?account={account.public_id}&{query}")["Location"]
        work()
        assert lines_of(staff, where) == {2: ("refused", "A different account already has this key.")}


@pytest.mark.parametrize("uploads", [1, 4])
def test_the_number_of_foreign_keys_reported_per_day_is_bounded(program, stolen, monkeypatch, uploads):
    """In one file or in several, and even if a failure makes each line go by itself."""
    monkeypatch.setattr(jobs, "MOST_FOREIGN", 3)
    rows = [f"k,{text}\n" for text in [*stolen, key_number(7)]]
    parts = [rows] if uploads == 1 else [[row] for row in rows]
    where = [upload(program, "".join(["name,key\n", *part]))["Location"] for part in parts]
    work()
    outcomes = [outcome for one in where for outcome in lines_of(program, one).values()]
    refused, unlooked = ("refused", "This key cannot be imported."), ("refused", reading.TOO_MANY_FOREIGN)
    assert outcomes == [refused] * 3 + [unlooked] * 3
    assert not ApiKey.objects.filter(name="k", account__name="acme").exists()


def test_what_an_operator_imports_takes_nothing_from_the_accounts_bound(program, account, stolen, monkeypatch):
    monkeypatch.setattr(jobs, "MOST_FOREIGN", 1)
    upload(operator("keys:write"), f"name,key\na,{stolen[0]}\n", f"?account={account.public_id}")
    work()
    where = upload(program, f"name,key\na,{stolen[1]}\n")["Location"]
    work()
    assert lines_of(program, where) == {2: ("refused", "This key cannot be imported.")}


def test_a_failing_line_does_not_raise_the_bound(program, stolen, monkeypatch):
    def fail(line, *rest):
        raise ZeroDivisionError

    monkeypatch.setattr(jobs, "MOST_FOREIGN", 3)
    monkeypatch.setattr(reading, "_new", fail)
    rows = [f"k,{text}\n" for text in [key_number(7), *stolen]]
    where = upload(program, "".join(["name,key\n", *rows]))["Location"]
    work()
    assert [why == reading.FOREIGN for _, why in lines_of(program, where).values()] == [
        False,
        *[True] * 3,
        *[False] * 2,
    ]


def test_the_bound_is_per_day(program, stolen, monkeypatch):
    monkeypatch.setattr(jobs, "MOST_FOREIGN", 1)
    upload(program, f"name,key\na,{stolen[0]}\n")
    work()
    ImportJob.objects.update(created_at=timezone.now() - timedelta(days=1, minutes=1))
    where = upload(program, f"name,key\na,{stolen[1]}\n")["Location"]
    work()
    assert lines_of(program, where) == {2: ("refused", "This key cannot be imported.")}


@pytest.mark.parametrize("dry_run", [True, False])
def test_each_import_ends_in_the_audit_log_with_its_counts(account, stolen, dry_run, caplog):
    owner = member_of(account, "owner")
    job = upload(
        owner, f"name,key\na,{stolen[0]}\nb,{key_number(1)}\nc,short\n", f"?dry_run={str(dry_run).lower()}"
    ).json()
    work()
    event = AuditEvent.objects.get(act="import.end", subject=job["id"])
    assert (event.actor, event.account, event.address) == ("owner", account.public_id, "192.0.2.7")
    imported, refused = (2, 1) if dry_run else (1, 2)
    assert event.after == {
        "dry_run": dry_run,
        "lines": 3,
        "imported": imported,
        "already_there": 0,
        "refused": refused,
    }
    told = [record.getMessage() for record in caplog.records if "keys of other accounts" in record.getMessage()]
    assert len(told) == (0 if dry_run else 1)


def test_a_line_may_only_name_models_of_the_plan(program, account):
    text = f"name,key,models\na,{key_number(1)},lg\nb,{key_number(2)},xl\nc,{key_number(3)},sm\n"
    where = upload(program, text)["Location"]
    work()
    assert lines_of(program, where) == {
        2: ("refused", "Unknown model lg."),
        3: ("refused", "Unknown model xl."),
        4: ("imported", ""),
    }
    staff = operator("keys:write")
    where = upload(staff, f"name,key,models\na,{key_number(4)},lg\n", f"?account={account.public_id}")["Location"]
    work()
    assert lines_of(staff, where) == {2: ("imported", "")}
