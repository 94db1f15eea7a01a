"""Which components of keys a listing has shown: a set that takes eight bytes a component, for directories of millions.

It remembers hashes, so once in 10^13 names it may take one for seen that was not; its removal by others then shows with
a later run's listings only. Nothing that was seen is ever taken for not seen.
"""

from array import array
from bisect import bisect_left

PARTS = 256


class SeenComponents:
    """First all `add`, then all `in`. Not shared between threads."""

    def __init__(self) -> None:
        self._parts: list[array[int] | None] = [None] * PARTS
        self._is_sorted = False

    def add(self, component: str) -> None:
        value = hash(component)
        part = self._parts[value % PARTS]
        if part is None:
            part = self._parts[value % PARTS] = array("q")
        part.append(value)
        self._is_sorted = False

    def __contains__(self, component: str) -> bool:
        if not self._is_sorted:
            self._parts = [part and array("q", sorted(part)) for part in self._parts]
            self._is_sorted = True
        value = hash(component)
        part = self._parts[value % PARTS]
        if part is None:
            return False
        place = bisect_left(part, value)
        return place < len(part) and part[place] == value
