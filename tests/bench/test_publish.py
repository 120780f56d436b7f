import json
from xml.etree import ElementTree

from bench import publish
from bench.chart import drawn

SPREAD = {"median": 50.0, "low": 40.0, "high": 60.0}


def row(name, **cpu):
    used = {role: {"median": value, "low": value, "high": value} for role, value in cpu.items()}
    whole = sum(cpu.values())
    return {
        "name": name, "pace": SPREAD, "cpu": used, "cpu_together": {"median": whole, "low": whole, "high": whole},
        "p50": None, "p99": None, "ratios": {},
    }  # fmt: skip


def run(began, **contests):
    return {
        "began": began,
        "machine": {"processor": "2 cores"},
        "rounds": 5,
        "seconds": 3,
        "contests": [
            {"part": part, "title": title, "rows": [row("gate", server=60, redis=20)]}
            for part, title in contests.items()
        ],
        "targets": [],
    }


def test_of_a_part_that_was_run_twice_the_last_run_counts():
    found = publish.together([run("first", empty="old", forged="kept"), run("second", empty="new")])
    assert [contest["title"] for contest in found["contests"]] == ["kept", "new"]
    assert [one["began"] for one in found["runs"]] == ["first", "second"]


def test_a_run_of_which_nothing_is_left_is_not_named():
    found = publish.together([run("first", empty="old"), run("second", empty="new")])
    assert [one["began"] for one in found["runs"]] == ["second"]


def test_the_section_stands_between_its_marks():
    page = f"# Title\n\n{publish.BEGIN}\nold\n{publish.END}\n\n## Next\n"
    once = publish.with_section(page, "new")
    assert once == f"# Title\n\n{publish.BEGIN}\n\nnew\n{publish.END}\n\n## Next\n"
    assert publish.with_section(once, "new") == once


def test_bars_are_as_long_as_the_time_and_the_longest_fills_the_width():
    contest = {"part": "x", "title": "A < B", "rows": [row("gate", server=60, redis=20), row("other", server=160)]}
    root = ElementTree.fromstring(drawn([contest]))
    bars = [one for one in root.iter("{http://www.w3.org/2000/svg}rect") if one.get("height") == "20"]
    widths = [float(one.get("width", "0")) for one in bars]
    assert [one.get("class") for one in bars] == ["server", "redis", "server"]
    assert widths[0] == 3 * widths[1]
    assert widths[2] == 8 * widths[1]
    assert "160 µs" in "".join(root.itertext())


def test_the_page_and_its_chart_are_those_of_the_published_results():
    found = json.loads(publish.PUBLISHED.read_text(encoding="utf-8"))
    page = publish.PAGE.read_text(encoding="utf-8")
    assert publish.with_section(page, publish.section_of(found)) == page
    assert publish.CHART.read_text(encoding="utf-8") == publish.chart_of(found)
