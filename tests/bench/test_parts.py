"""Each part of the benchmark, with turns of a second: it starts what it compares, and the figures are possible ones."""

import json
import shutil

import pytest

from bench import __main__ as program
from bench.contest import Scale
from bench.parts import PARTS


def part_named(name):
    return next(part for part in PARTS if part.name == name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [part.name for part in PARTS])
def test_a_part_gives_possible_figures(name, tmp_path, monkeypatch):
    if missing := [tool for tool in part_named(name).needs if shutil.which(tool) is None]:
        pytest.skip(f"{', '.join(missing)} is not on PATH")
    arguments = [name, "--rounds", "1", "--seconds", "1", "--divisor", "1000", "--results", str(tmp_path)]
    assert program.main(arguments) == 0
    (file,) = tmp_path.glob("*.json")
    found = json.loads(file.read_text())
    assert found["left_out"] == {}
    for contest in found["contests"]:
        for row in contest["rows"]:
            assert row["pace"]["median"] > 1, row
            assert 1 < row["cpu_together"]["median"] < 1_000_000, row
            if row["p50"]:
                assert 0 < row["p50"]["median"] <= row["p99"]["median"] < 10_000, row
    assert all(target["figure"] > 0 for target in found["targets"])
    assert (tmp_path / f"{file.stem}.md").exists()


def test_the_list_names_every_part_and_what_it_needs(capsys):
    assert program.main(["--list"]) == 0
    told = capsys.readouterr().out
    for part in PARTS:
        assert part.about in told
        assert ", ".join(part.needs) in told


def test_an_unknown_part_is_refused_with_the_names_of_all(capsys):
    with pytest.raises(SystemExit):
        program.main(["nginx"])
    assert "choose from empty, forged" in capsys.readouterr().err


def test_a_part_whose_program_is_missing_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert program.main(["oauth2-proxy", "--results", str(tmp_path)]) == 1
    assert "oauth2-proxy is not on PATH (go install" in capsys.readouterr().err


def test_more_rounds_take_more_time():
    part = part_named("traefik")
    assert part.seconds(Scale(rounds=10)) > part.seconds(Scale(rounds=5)) > 12 * 5 * 3
