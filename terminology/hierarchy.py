"""Which concepts lie below which, in memory (FHIR R4 codesystem.html#hierarchy)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Any


@dataclass(slots=True)
class Hierarchy:
    """The concepts of a CodeSystem as its resource has them, and which lie directly below which."""

    entries: dict[str, Json] = field(default_factory=dict)  # by code, in the order of the resource
    children: dict[str, dict[str, None]] = field(default_factory=dict)
    parents: dict[str, dict[str, None]] = field(default_factory=dict)
    folded: dict[str, str] | None = None  # code by its lower case; None: case counts

    def find(self, code: str) -> Json | None:
        """The entry of a code."""
        entry = self.entries.get(code)
        if entry is None and self.folded is not None and (known := self.folded.get(code.casefold())):
            entry = self.entries[known]
        return entry

    def above(self, code: str) -> set[str]:
        """All above a code."""
        return _reached(code, self.parents)

    def below(self, code: str) -> set[str]:
        """All below a code."""
        return _reached(code, self.children)

    def link(self, parent: str, child: str) -> None:
        """The second lies below the first."""
        self.children.setdefault(parent, {})[child] = None
        self.parents.setdefault(child, {})[parent] = None


def _reached(code: str, further: Mapping[str, Iterable[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [code]
    while waiting:
        new = set(further.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return found - {code}
