"""Which concepts lie below which, in memory (FHIR R4 codesystem.html#hierarchy)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = Any


class Lengths(NamedTuple):
    """How many characters the values of something have."""

    all: int  # of all concepts
    most: int  # of one concept


@dataclass(slots=True)
class Hierarchy:
    """The concepts of a CodeSystem as its resource has them, and which lie directly below which."""

    entries: dict[str, Json] = field(default_factory=dict)  # by code, in the order of the resource
    children: dict[str, dict[str, None]] = field(default_factory=dict)
    parents: dict[str, dict[str, None]] = field(default_factory=dict)
    folded: dict[str, str] | None = None  # code by its lower case; None: case counts
    _lengths: dict[str, Lengths] = field(default_factory=dict)

    def find(self, code: str) -> Json | None:
        """The entry of a code."""
        return self.entries.get(self.written(code))

    def written(self, code: str) -> str:
        """A code as the code system writes it; as it came, where it is not known."""
        if self.folded is None or code in self.entries:
            return code
        return self.folded.get(code.casefold(), code)

    def lengths(self, name: str) -> Lengths:
        """How long the texts are that a filter on a property looks at; of any property, as all together."""
        name = _OWN.get(name, "property")
        if (known := self._lengths.get(name)) is None:
            found = [_length(each, name) for each in self.entries.values()]
            known = self._lengths[name] = Lengths(sum(found), max(found, default=0))
        return known

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


_OWN = {"code": "code", "concept": "code", "display": "display", "definition": "definition"}


def _length(entry: Json, name: str) -> int:
    """The characters of an element of a concept, or of its properties."""
    own = len(str(entry.get(name, ""))) if name in _OWN else 0
    values = (value for each in entry.get("property", ()) for key, value in each.items() if key != "code")
    return own + sum(len(str(value)) for value in values)


def _reached(code: str, further: Mapping[str, Iterable[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [code]
    while waiting:
        new = set(further.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return found - {code}
