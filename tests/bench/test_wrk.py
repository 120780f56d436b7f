import shutil
import subprocess

import pytest

from bench import wrk
from bench.servers.empty import empty_answers

LINES = """
Running 1s test
outcome {"answers": 120, "microseconds": 1000100, "refused": 0, "broken": 0, "p50": 310, "p99": 2900}
"""


def test_the_outcome_is_read_from_the_line_that_our_script_prints():
    assert wrk.read_outcome(LINES) == wrk.Outcome(120, 1_000_100, 0, 0, 310, 2900)


def test_without_an_outcome_the_failure_shows_what_wrk_said():
    with pytest.raises(wrk.LoadFailed, match="unable to connect"):
        wrk.read_outcome("", "unable to connect to 127.0.0.1")


def test_the_key_is_put_where_the_word_key_stands(tmp_path):
    script = wrk.write_script(tmp_path / "a.lua", target="/x", headers={"Authorization": "Bearer KEY"}, keys=["k1"])
    assert (
        '"GET /x HTTP/1.1\\r\\nHost: api.example.com\\r\\nAuthorization: Bearer ", "\\r\\n\\r\\n"' in script.read_text()
    )
    assert (tmp_path / "a.keys").read_text() == "k1\n"


@pytest.mark.parametrize(
    ("outcome", "is_refused", "fails"),
    [
        ({"refused": 0}, False, False),
        ({"refused": 1}, False, True),
        ({"refused": 120}, True, False),
        ({"refused": 119}, True, True),
        ({"broken": 1}, False, True),
        ({"answers": 0}, False, True),
    ],
)
def test_load_fails_unless_every_answer_is_the_expected_one(monkeypatch, tmp_path, outcome, is_refused, fails):
    numbers = {"answers": 120, "microseconds": 1, "refused": 0, "broken": 0, "p50": 1, "p99": 1} | outcome
    monkeypatch.setattr(wrk, "read_outcome", lambda *_: wrk.Outcome(**numbers))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, "", ""))
    load = wrk.Load(tmp_path, 1, 1, is_refused)
    if fails:
        with pytest.raises(wrk.LoadFailed):
            wrk.run(load, 1)
    else:
        assert wrk.run(load, 1).answers == 120


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not on PATH")
def test_real_load_is_counted(tmp_path):
    with empty_answers(tmp_path) as (port, _):
        script = wrk.write_script(tmp_path / "a.lua", target="/", headers={"X-Key": "KEY"}, keys=["k1", "k2"])
        outcome = wrk.run(wrk.Load(script, port, 2), 1)
    assert outcome.answers > 10
    assert 0 < outcome.p50 <= outcome.p99
