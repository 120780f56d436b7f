"""Counters, histograms and gauges that the workers of a replica share, cheap enough for every decision.

prometheus_client's multiprocess mode would do the same with a file per process in a folder that must be writable and
be emptied at each start, at ten times the cost: docs/decisions/0042. Here a count is a place in `runtime.replica`'s
memory, looked up by name once per worker. Every series has one writing thread: the event loop's for what is counted
with `count`, `observe` and `add`, and whichever holds the lock for `count_in_a_thread`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from typing import ClassVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from runtime import replica

NO_MODEL = "-"  # the label where there is no model, and for models beyond those a seat has room for
NANOSECONDS = 1_000_000_000

Labels = tuple[str, ...]


class SharedCounter:
    """A number per combination of labels, which only grows. The label `model` is open: operators make its values.

    Those in `known` are reported as 0 before they are first counted: to Prometheus, a series that begins with 1 has not
    increased.
    """

    _in_threads: ClassVar[Lock] = Lock()

    def __init__(self, name: str, says: str, *labels: str) -> None:
        self.name, self._says, self._labels = name, says, labels
        self.known: tuple[Labels, ...] = () if labels else ((),)
        self._open = labels.index("model") if "model" in labels else None
        replica.on_move(self._move)

    def _move(self, numbers: memoryview) -> None:
        self._numbers = numbers
        self._places: dict[Labels, int] = {}

    def count(self, *values: str) -> None:
        """Only the event loop's thread may call it."""
        try:
            self._numbers[self._places[values]] += 1
        except KeyError:
            self._numbers[self._settle(values)] += 1

    def add(self, number: int, *values: str) -> None:
        """As if `count` were called this many times."""
        place = self._places.get(values)
        self._numbers[self._settle(values) if place is None else place] += number

    def count_in_a_thread(self, *values: str) -> None:
        """For series that no event loop counts."""
        self.add_in_a_thread(1, *values)

    def add_in_a_thread(self, number: int, *values: str) -> None:
        with self._in_threads:
            self.add(number, *values)

    def _settle(self, values: Labels) -> int:
        """Find the place of a new combination. A flood of models ends up under NO_MODEL."""
        instead = None
        if self._open is not None:
            instead = " ".join((self.name, *values[: self._open], NO_MODEL, *values[self._open + 1 :]))
        place = self._places[values] = replica.place_of(" ".join((self.name, *values)), instead)
        return place

    def collect(self, totals: Mapping[str, int]) -> Metric:
        metric = CounterMetricFamily(self.name, self._says, labels=self._labels)
        for values, counted in {**dict.fromkeys(self.known, 0), **dict(series_of(self.name, totals))}.items():
            metric.add_metric(values, counted)
        return metric

    def expect(self, *words: str) -> SharedCounter:
        """These are all the words that the first label can have."""
        rest = (NO_MODEL,) * (len(self._labels) - 1)
        self.known = tuple((word, *rest) for word in words)
        return self


class SharedHistogram:
    """How often a value was at most each bound, and the values' sum."""

    def __init__(self, name: str, says: str, bounds: Sequence[float], *, unit: int) -> None:
        """`unit` is how many of the sum's integer steps make 1."""
        self.name, self._says, self._bounds, self._unit = name, says, tuple(bounds), unit
        self._words = [*map(floatToGoString, bounds), "+Inf"]
        replica.on_move(self._move)

    def _move(self, numbers: memoryview) -> None:
        self._numbers = numbers
        self._places: list[int] = []
        self._sum = 0

    def observe(self, value: float) -> None:
        """Only the event loop's thread may call it."""
        numbers = self._numbers
        numbers[(self._places or self._settle())[bisect_left(self._bounds, value)]] += 1
        numbers[self._sum] += int(value * self._unit)

    def observe_all(self, values: list[float]) -> None:
        """As if `observe` were called for each, and for many at the cost of one. They get sorted."""
        numbers, places, so_far = self._numbers, self._places or self._settle(), 0
        values.sort()
        for place, bound in zip(places, self._bounds, strict=False):  # the last place has no bound
            if so_far == len(values):
                break
            up_to = bisect_right(values, bound)
            if up_to > so_far:
                numbers[place] += up_to - so_far
                so_far = up_to
        if so_far < len(values):
            numbers[places[-1]] += len(values) - so_far
        numbers[self._sum] += int(sum(values) * self._unit)

    def _settle(self) -> list[int]:
        *self._places, self._sum = (replica.place_of(f"{self.name} {word}") for word in (*self._words, "sum"))
        return self._places

    def collect(self, totals: Mapping[str, int]) -> Metric:
        found, so_far = {values[0]: counted for values, counted in series_of(self.name, totals)}, 0
        buckets = []
        for word in self._words:
            so_far += found.get(word, 0)
            buckets.append((word, so_far))
        return HistogramMetricFamily(self.name, self._says, buckets, found.get("sum", 0) / self._unit)


class SharedGauge:
    """A number that ends with its worker; the replica's is the sum over living workers."""

    def __init__(self, name: str, says: str) -> None:
        self.name, self._says = name, says
        replica.on_move(self._move)

    def _move(self, numbers: memoryview) -> None:
        self._numbers = numbers
        self._place: int | None = None

    def add(self, number: int) -> None:
        """Only the event loop's thread may call it."""
        if self._place is None:
            self._place = replica.place_of(replica.GAUGE + self.name)
        self._numbers[self._place] = max(0, self._numbers[self._place] + number)

    def collect(self, totals: Mapping[str, int]) -> Metric:
        return GaugeMetricFamily(self.name, self._says, totals.get(replica.GAUGE + self.name, 0))


def series_of(name: str, totals: Mapping[str, int]) -> Iterator[tuple[Labels, int]]:
    """The labels and number of each series of a metric."""
    for series in sorted(totals):
        own, _, values = series.partition(" ")
        if own == name:
            yield tuple(values.split(" ")) if values else (), totals[series]
