"""A draft whose concepts have their numbers: the rows of each table, by the order of its keys."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any

from sqlalchemy import Table

from server.kernel.rows import Row, table_of
from terminology.issues import InvalidDefinition
from terminology.releases.closure import Cycle, close, transposed
from terminology.releases.draft import Dialects, ReleaseDraft
from terminology.tables import (
    TerminologyChild,
    TerminologyClosure,
    TerminologyCode,
    TerminologyConcept,
    TerminologyProperty,
)

MAX_NAMED = 10  # codes in a message
ROOTS = 0  # the parent of those that have none

Rows = Iterator[Sequence[Any]]


class Numbered:
    """Numbers, and what lies above what by numbers.

    Raises:
        InvalidDefinition: codes are named that are no concepts', or concepts lie below themselves.
    """

    def __init__(self, draft: ReleaseDraft) -> None:
        self._draft = draft
        self._codes = list(draft.index)
        self._require_concepts()
        known = (index for index, name in enumerate(draft.names) if name is not None)
        self.order = array("I", sorted(known, key=lambda i: (draft.names[i], self._codes[i])))
        self._number = array("I", bytes(4 * len(draft.names)))  # 0: it is no concept
        for number, index in enumerate(self.order, 1):
            self._number[index] = number
        self.active = sum(name is not None and name[0] == "0" for name in draft.names)
        self._above = self._closed()

    def tables(self, release_id: int) -> Iterator[tuple[Table, int, Rows]]:
        """Each table that has rows, how many about, and the rows."""
        draft = self._draft
        count, pairs = len(self.order), sum(map(len, self._above))
        edges = sum(map(len, draft.parents))
        yield table_of(TerminologyCode), count, self._code_rows(release_id)
        yield table_of(TerminologyConcept), count, self._concept_rows(release_id)
        yield table_of(TerminologyChild), max(edges, 1), self._child_rows(release_id)
        yield table_of(TerminologyClosure), pairs, self._closure_rows(release_id)
        yield table_of(TerminologyProperty), len(draft.values), self._property_rows(release_id)
        for row, spool in draft.further.items():
            yield table_of(row), len(spool), self._further_rows(release_id, row)

    def _require_concepts(self) -> None:
        names = self._draft.names
        missing = [self._codes[index] for index in sorted(self._draft.needed) if names[index] is None]
        if missing:
            some = ", ".join(missing[:MAX_NAMED])
            raise InvalidDefinition(f"{len(missing)} codes are named that are no concepts: {some}.")

    def _closed(self) -> list["array[int]"]:
        """Numbers of what lies above each number."""
        number, parents = self._number, self._draft.parents
        by_number = [(), *(tuple(map(number.__getitem__, parents[index])) for index in self.order)]
        try:
            return close(by_number)
        except Cycle as cycle:
            codes = ", ".join(self._codes[self.order[node - 1]] for node in cycle.nodes[:MAX_NAMED])
            raise InvalidDefinition(f"These codes lie below themselves: {codes}.") from None

    def _code_rows(self, release_id: int) -> Rows:
        fold = not self._draft.read_header.case_sensitive
        keyed = sorted(((code.casefold() if fold else code), i) for code, i in self._draft.index.items())
        last = None
        for code, index in keyed:
            if not self._number[index]:
                continue
            if code == last:
                raise InvalidDefinition(f"The code '{code}' is there twice, apart from case.")
            last = code
            yield release_id, code, self._number[index]

    def _concept_rows(self, release_id: int) -> Rows:
        for _, (row,) in self._draft.concepts.ordered(self._number.__getitem__):
            index, code, display, active, body, words = row
            number = self._number[index]
            parents = sorted(self._number[parent] for parent in self._draft.parents[index])
            above = self._above[number]
            yield release_id, number, code, display, active, body, _json(parents), _json(above), words

    def _child_rows(self, release_id: int) -> Rows:
        pairs = array("Q")
        for child, index in enumerate(self.order, 1):
            parents = [self._number[parent] for parent in self._draft.parents[index]] or [ROOTS]
            pairs.extend(parent << 32 | child for parent in parents)
        return ((release_id, pair >> 32, pair & 0xFFFFFFFF) for pair in sorted(pairs))

    def _closure_rows(self, release_id: int) -> Rows:
        begins, below = transposed(self._above)
        return chain.from_iterable(
            zip(repeat(release_id), repeat(ancestor), below[begins[ancestor] : begins[ancestor + 1]])
            for ancestor in range(1, len(self._above))
        )

    def _property_rows(self, release_id: int) -> Rows:
        for key in sorted(self._draft.values):
            name, _, value = key.partition("\0")
            found = self._draft.values[key]
            for index in sorted([found] if isinstance(found, int) else found, key=self._number.__getitem__):
                yield release_id, name, value, self._number[index]

    def _further_rows(self, release_id: int, table: type[Row]) -> Rows:
        shape, number = self._draft.shapes[table], self._number
        references, n, dialects = shape.references, shape.n, shape.dialects
        texts = [self._dialects(told) for told in self._draft.dialects]
        for _, rows in self._draft.further[table].ordered(number.__getitem__):
            for count, row in enumerate(rows, 1):
                row[0] = release_id
                for at in references:
                    if row[at] is not None:
                        row[at] = number[row[at]] or None
                if n is not None and row[n] is None:
                    row[n] = count
                if dialects is not None:
                    row[dialects] = texts[row[dialects]]
            yield from _by_key(rows, shape.key_of)

    def _dialects(self, told: Dialects) -> str:
        known = " ".join(f"{self._number[index]}{how}" for index, how in told if self._number[index])
        return f" {known} " if known else ""


def _by_key(rows: Sequence[Sequence[Any]], key_of: Callable[[Any], Any]) -> Iterator[Sequence[Any]]:
    """Rows in the order of their keys, of those with the same the last; without those that lack a key."""
    kept = {key_of(row): row for row in rows}
    for key in sorted(key for key in kept if None not in key):
        yield kept[key]


def _json(numbers: Sequence[int]) -> str:
    return f"[{','.join(map(str, numbers))}]"
