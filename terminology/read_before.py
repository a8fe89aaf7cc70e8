"""Definitions that were read into values, by the identity of their JSON, which nobody changes.

What is kept is weighed by how much JSON it holds on to: a definition may be long in what nobody reads.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Json = Any
T = TypeVar("T")

MAX_KEPT_ELEMENTS = 500_000  # of the definitions of one kind; the last one is kept whatever its size
_CHARACTERS = 50  # of a text, that weigh as much as an element


class ReadBefore(Generic[T]):
    """What `read` made of the definitions that were asked for last."""

    def __init__(self, read: Callable[[Json], T]) -> None:
        self._read = read
        self._kept: OrderedDict[int, tuple[Json, T, int]] = OrderedDict()
        self.elements = 0

    def get(self, resource: Json) -> T:
        """The value of this very object, read if it is not here."""
        if (known := self._kept.get(id(resource))) is not None:
            self._kept.move_to_end(id(resource))
            return known[1]
        value, size = self._read(resource), elements_of(resource)
        self._kept[id(resource)] = (resource, value, size)
        self.elements += size
        while self.elements > MAX_KEPT_ELEMENTS and len(self._kept) > 1:
            self.elements -= self._kept.popitem(last=False)[1][2]
        return value


def elements_of(resource: Json) -> int:
    """How many values JSON has, long texts counted as several."""
    count, waiting = 0, [resource]
    while waiting:
        each = waiting.pop()
        count += 1
        if isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
        elif isinstance(each, str):
            count += len(each) // _CHARACTERS
    return count
