import json

import pytest

from bench import report
from bench.contest import Goal, Target
from bench.figures import Spread, rows_of
from bench.turns import Turn


def turns(*paces, cpu, p50=1.0):
    return [Turn(pace, 1, {"server": used}, p50, 2 * p50) for pace, used in zip(paces, cpu, strict=True)]


TAKEN = {
    "empty": turns(1000, 500, 900, cpu=[20, 40, 30]),
    "gate": turns(500, 100, 300, cpu=[60, 100, 60], p50=1.6),
}


def test_figures_are_medians_with_their_spread():
    empty, gate = rows_of(TAKEN)
    assert empty.pace == Spread(900, 500, 1000)
    assert gate.cpu_together == Spread(60, 60, 100)
    assert gate.p99
    assert gate.p99.median == 3.2


def test_ratios_are_taken_round_by_round():
    empty, gate = rows_of(TAKEN)
    assert empty.ratios == {}
    assert gate.ratios["cpu"] == Spread(2.5, 2, 3)  # the ratio of the medians would be 2
    assert gate.ratios["pace"].median == pytest.approx(1 / 3)
    assert gate.ratios["p50"].median == 1.6


def test_subjects_without_latency_have_no_ratio_of_it():
    taken = {name: [Turn(10, 1, {"client": 5.0})] for name in ("one", "other")}
    assert set(rows_of(taken)[1].ratios) == {"cpu", "pace"}
    assert "p50 ms" not in report.cells_of(rows_of(taken))[0]


@pytest.mark.parametrize(
    ("bound", "at_least", "reached"), [(2.5, False, True), (2.4, False, False), (2.5, True, True), (2.6, True, False)]
)
def test_a_goal_is_reached_at_its_bound(bound, at_least, reached):
    target = Goal("CPU", "gate", "cpu", bound, at_least).judged(rows_of(TAKEN))
    assert target.figure == 2.5
    assert target.is_reached is reached


def test_a_goal_for_the_pace_looks_at_the_median():
    target = Goal("import", "gate", "pace", 300, at_least=True, is_pace=True).judged(rows_of(TAKEN))
    assert (target.figure, target.is_reached) == (300, True)


def test_the_table_is_aligned_and_names_each_role():
    lines = report.text_of(report.cells_of(rows_of(TAKEN))).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split("  ")[0] == ""
    assert "server µs" in lines[0]
    assert lines[2].split()[:2] == ["gate", "300"]
    assert lines[2].split()[-3:] == ["2.50", "0.33", "1.60"]


def test_a_report_is_the_same_in_json_and_markdown():
    found = report.Report({"processor": "2 cores"}, 3, 1.0, "2026-11-26T00:00:00+00:00")
    found.contests.append(report.Held("empty", "Against nothing", rows_of(TAKEN)))
    found.targets.append(("empty", Target("CPU", 2.5, 2.2, "times")))
    found.left_out["oauth2-proxy"] = "it is not on PATH"
    told = json.loads(json.dumps(found.as_json()))
    assert told["contests"][0]["rows"][1]["ratios"]["cpu"] == {"median": 2.5, "low": 2, "high": 3}
    assert told["targets"][0]["is_reached"] is False
    markdown = report.as_markdown(found)
    assert "| gate | 300 | 1.60 | 3.20 | 60.0 | 60.0 | 60.0–100.0 | 2.50 | 0.33 | 1.60 |" in markdown
    assert "| CPU | ≤ 2.20 times | 2.50 | no |" in markdown
    assert "`oauth2-proxy` was left out: it is not on PATH" in markdown
