"""A process's memory of what it looked up: the most recently used entries that fit into a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """Least recently used entries go first. Their sizes are estimated by the caller."""

    __slots__ = ("_most", "_sizes", "bytes", "entries")

    def __init__(self, most_bytes: int) -> None:
        # The gate reads it directly, since a call would cost time, and marks a use with `move_to_end`.
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
        """The entry now takes up `more` bytes on top; does nothing if it has been evicted."""
        if self.entries.get(key) is value:
            self._sizes[key] += more
            self.bytes += more
            self._make_room()

    def clear(self) -> None:
        self.entries.clear()
        self._sizes.clear()
        self.bytes = 0

    def _make_room(self) -> None:
        while self.bytes > self._most and len(self.entries) > 1:  # the newest stays, or a look-up would be in vain
            key, _ = self.entries.popitem(last=False)
            self.bytes -= self._sizes.pop(key)
