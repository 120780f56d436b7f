"""A process's memory of what it found: the entries that were used last, as far as they fit into so many bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """Least recently used entries go first. The sizes are estimates of whoever keeps an entry."""

    __slots__ = ("_most", "_sizes", "bytes", "entries")

    def __init__(self, most_bytes: int) -> None:
        # Read directly where a call would cost time at the gate; `move_to_end` there marks a use.
        self.entries: OrderedDict[Key, Value] = OrderedDict()
        self.bytes = 0
        self._most = most_bytes
        self._sizes: dict[Key, int] = {}

    def keep(self, key: Key, value: Value, size: int) -> None:
        self.bytes += size - self._sizes.get(key, 0)
        self.entries[key], self._sizes[key] = value, size
        self.entries.move_to_end(key)
        self._make_room()

    def grow(self, key: Key, value: Value, more: int) -> None:
        """The entry takes up so much more than it was kept with; one that has been evicted meanwhile is no matter."""
        if self.entries.get(key) is value:
            self._sizes[key] += more
            self.bytes += more
            self._make_room()

    def clear(self) -> None:
        self.entries.clear()
        self._sizes.clear()
        self.bytes = 0

    def _make_room(self) -> None:
        while self.bytes > self._most and len(self.entries) > 1:  # the newest stays, or it would be found in vain
            key, _ = self.entries.popitem(last=False)
            self.bytes -= self._sizes.pop(key)
