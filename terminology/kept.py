"""Opened definitions that stay in memory: those used last, as long as they have not too many concepts."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class KeptDefinitions:
    """The definitions that were opened last; what is evicted is opened again when it is asked for."""

    def __init__(self, max_concepts: int) -> None:
        self._max_concepts = max_concepts
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.concepts = 0

    def get(self, key: Hashable, concepts: int, make: Callable[[], Any]) -> Any:
        """A definition with that many concepts, made if it is not here.

        One that is larger than the bound is not kept.
        """
        if (found := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return found[0]
        made, weight = make(), concepts + 1
        if weight <= self._max_concepts:
            self._kept[key] = (made, weight)
            self.concepts += weight
        while self.concepts > self._max_concepts:
            _, (_, freed) = self._kept.popitem(last=False)
            self.concepts -= freed
        return made
