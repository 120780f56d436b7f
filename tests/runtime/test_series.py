"""Counts that the workers of a replica share: none is lost, none falls, and a flood of models fits."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from runtime import replica
from runtime.series import NANOSECONDS, SharedCounter, SharedGauge, SharedHistogram

_far_seats = itertools.count(200)


@pytest.fixture(autouse=True)
def seat():
    """A seat that has never been used."""
    yield replica.sit(next(_far_seats))
    replica.sit(0)
    for index in range(200, replica.SEATS):  # the tests' own numbers are no business of other tests
        replica.WorkerSeat(index).numbers[:] = memoryview(bytes(replica._NUMBER_BYTES)).cast("Q")


@pytest.fixture
def family(request):
    """A metric that is forgotten after the test."""

    def made(kind, *args, **options):
        before = len(replica._movers)
        request.addfinalizer(lambda: replica._movers.__delitem__(slice(before, before + 1)))
        return kind(*args, **options)

    return made


def samples(metric, seat):
    return {
        (sample.name, *sample.labels.values()): sample.value for sample in metric.collect(dict(seat.counts())).samples
    }


def test_the_next_worker_in_a_seat_continues_from_the_counts_it_finds(seat, family):
    calls = family(SharedCounter, "calls", "Calls.", "verdict")
    calls.count("allowed")
    replica.sit(0)
    replica.sit(seat.index)
    calls.count("allowed")
    calls.add(3, "refused")
    assert samples(calls, seat) == {("calls_total", "allowed"): 2, ("calls_total", "refused"): 3}


def test_more_models_than_there_is_room_for_are_counted_as_none(seat, family):
    calls = family(SharedCounter, "calls", "Calls.", "verdict", "model")
    for number in range(replica.SERIES):
        calls.count("allowed", f"model-{number}")
    counts = seat.counts()
    assert sum(counts.values()) == replica.SERIES
    assert counts["calls allowed -"] == replica.SPARE
    assert len(counts) == replica.SERIES - replica.SPARE + 1


def test_known_names_have_room_when_models_have_none_left(seat, family):
    calls = family(SharedCounter, "calls", "Calls.", "model")
    mails = family(SharedCounter, "mails", "Mails.", "outcome")
    for number in range(replica.SERIES):
        calls.count(f"model-{number}")
    mails.count("sent")
    assert seat.counts()["mails sent"] == 1


def test_counting_never_fails_however_many_names_there_are(seat, family):
    mails = family(SharedCounter, "mails", "Mails.", "outcome")
    for number in range(replica.SERIES + 10):
        mails.count(f"word-{number}")
    counts = seat.counts()
    assert len(counts) == replica.SERIES
    assert counts[replica.NOWHERE] >= 11  # more, if a gate that another test has left measures its PING meanwhile


def test_the_longest_name_of_a_model_fits(seat, family):
    calls = family(SharedCounter, "authsvc_decisions", "Calls.", "verdict", "model")
    calls.count("address_not_allowed", "m" * 63)
    assert samples(calls, seat) == {("authsvc_decisions_total", "address_not_allowed", "m" * 63): 1}


def test_what_is_expected_is_reported_before_it_is_counted(seat, family):
    mails = family(SharedCounter, "mails", "Mails.", "outcome").expect("sent", "failed")
    mails.count("failed")
    assert samples(mails, seat) == {("mails_total", "sent"): 0, ("mails_total", "failed"): 1}
    turns = family(SharedCounter, "turns", "Turns.")
    assert samples(turns, seat) == {("turns_total",): 0}


def test_counts_from_several_threads_are_exact(seat, family):
    mails = family(SharedCounter, "mails", "Mails.", "outcome")

    def count_many(_) -> None:
        for _ in range(2000):
            mails.count_in_a_thread("sent")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count_many, range(8)))
    assert seat.counts()["mails sent"] == 16_000


def test_a_histogram_counts_a_value_under_the_first_bound_that_holds_it(seat, family):
    took = family(SharedHistogram, "took", "Time.", (0.1, 0.5), unit=NANOSECONDS)
    for value in (0.05, 0.1, 0.2, 7.0):
        took.observe(value)
    found = samples(took, seat)
    assert found.pop(("took_sum",)) == pytest.approx(7.35)
    assert found == {
        ("took_bucket", "0.1"): 2,
        ("took_bucket", "0.5"): 3,
        ("took_bucket", "+Inf"): 4,
        ("took_count",): 4,
    }


@pytest.mark.parametrize(
    "values", [[], [0.1], [9.0], [0.5, 0.05, 0.1, 0.5, 7.0, 0.2], [0.0, 0.3], [0.6, 0.1000001], [0.01] * 40]
)
def test_values_that_are_observed_together_count_as_one_by_one(seat, family, values):
    one_by_one, together = (
        family(SharedHistogram, name, "Time.", (0.1, 0.5), unit=NANOSECONDS) for name in ("one", "all")
    )
    for value in values:
        one_by_one.observe(value)
    together.observe_all(list(values))
    found, other = samples(together, seat), samples(one_by_one, seat)
    assert found.pop(("all_sum",)) == pytest.approx(other.pop(("one_sum",)), abs=1e-7)
    assert [*found.values()] == [*other.values()]


def test_a_gauge_ends_with_its_worker_and_counters_do_not(seat, family):
    broken = family(SharedGauge, "broken", "Broken.")
    calls = family(SharedCounter, "calls", "Calls.", "verdict")
    broken.add(1)
    calls.count("allowed")
    assert samples(broken, seat) == {("broken",): 1}
    replica.free_seat(None, SimpleNamespace(seat=seat.index))
    assert samples(broken, seat) == {("broken",): 0}
    assert samples(calls, seat) == {("calls_total", "allowed"): 1}


def test_totals_are_those_of_all_seats(family, monkeypatch):
    calls = family(SharedCounter, "calls-of-all", "Calls.", "verdict")
    used = [replica.WorkerSeat(index) for index in (230, 231)]
    monkeypatch.setattr(replica, "_used_seats", lambda: used)
    for seat in used:
        replica.sit(seat.index)
        calls.count("allowed")
    assert replica.totals()["calls-of-all allowed"] == 2


def test_a_worker_that_takes_another_seat_counts_under_the_places_of_that_seat(seat, family):
    calls = family(SharedCounter, "calls", "Calls.", "verdict")
    took = family(SharedHistogram, "took", "Time.", (0.1, 0.5), unit=NANOSECONDS)
    broken = family(SharedGauge, "broken", "Broken.")

    def count() -> None:
        calls.count("allowed")
        took.observe(0.2)
        broken.add(1)

    count()
    other = replica.sit(next(_far_seats))
    replica.place_of("the first name there, by which all others have a different place")
    count()
    for one in (seat, other):
        assert samples(calls, one) == {("calls_total", "allowed"): 1}
        assert samples(took, one)[("took_count",)] == 1
        assert samples(broken, one) == {("broken",): 1}


def test_a_gauge_never_falls_below_zero(seat, family):
    """It is unsigned, and what was broken may be mended twice."""
    broken = family(SharedGauge, "broken", "Broken.")
    broken.add(-1)
    assert samples(broken, seat) == {("broken",): 0}
    broken.add(2)
    broken.add(-1)
    assert samples(broken, seat) == {("broken",): 1}


def test_a_metric_has_nothing_of_one_whose_name_begins_alike(seat, family):
    calls = family(SharedCounter, "calls", "Calls.", "verdict")
    of_others = family(SharedCounter, "calls_of_others", "Calls.", "verdict")
    calls.count("allowed")
    of_others.count("refused")
    assert samples(calls, seat) == {("calls_total", "allowed"): 1}
