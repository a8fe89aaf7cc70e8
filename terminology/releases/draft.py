"""A release as a loader tells it, before anything of it is in the database.

A loader says concepts, and rows of further tables in which concepts are named by their codes, in any order.
What comes is checked, and waits in temporary files: memory holds the codes, names and hierarchy alone.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from server.kernel.rows import Row, table_of
from terminology.issues import InvalidDefinition
from terminology.listed import properties_of, read_header
from terminology.releases.bodies import encode_body
from terminology.releases.spool import Spool
from terminology.tables import (
    TerminologyConceptState,
    TerminologyConcreteValue,
    TerminologyDescription,
    TerminologyMember,
    TerminologyRelation,
)
from terminology.text import words_of

Json = Any

Dialects = tuple[tuple[int, str], ...]

MAX_CODE_CHARACTERS = 500
MAX_DISPLAY_CHARACTERS = 10_000
MAX_VALUE_CHARACTERS = 500  # of a property, as far as filters look at it; PostgreSQL indexes 2,700 bytes
MAX_WORD_CHARACTERS = 100
MAX_WORDS_CHARACTERS = 20_000  # of one concept
MAX_CONCEPTS = 5_000_000

# Columns that name concepts: those that must be here, and those that may be unknown. The first owns the row.
REFERENCES: Mapping[type[Row], tuple[Sequence[str], Sequence[str]]] = {
    TerminologyRelation: (("source", "attribute", "target"), ()),
    TerminologyConcreteValue: (("source", "attribute"), ()),
    TerminologyConceptState: (("number",), ("module",)),
    TerminologyDescription: (("concept",), ("kind", "module")),
    TerminologyMember: (("refset", "concept"), ("target", "module")),
}

# Reference sets have members that are no concepts, or not here: such rows are left out.
LENIENT = frozenset({TerminologyMember})


class ReleaseDraft:
    """Collects one release; close it to be rid of its files."""

    def __init__(self, header: Json, kind: str = "listed", folder: Path | None = None) -> None:
        """Begin one.

        Args:
            header: a CodeSystem resource; its concepts are not looked at.
            kind: whose filters it has, see `releases.conditions`.
            folder: of the temporary files; None: the system's.
        """
        self.header, self.kind = header, kind
        self.read_header = read_header(header)
        self.index: dict[str, int] = {}  # of codes, in the order in which they are first named
        self.names: list[str | None] = []  # how a concept sorts, by index; None: it is only named so far
        self.parents: list[Sequence[int]] = []
        self.needed: set[int] = set()  # what is named where only a concept makes sense
        self.values: dict[str, int | array[int]] = {}  # concepts by "property\0value"
        self.concepts = Spool(folder)
        self.further: dict[type[Row], Spool] = {}
        self._folder = folder
        self.shapes: dict[type[Row], _Shape] = {}
        self.dialects: dict[Dialects, int] = {}  # of descriptions: few are different

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for spool in (self.concepts, *self.further.values()):
            spool.__exit__(kind, error, trace)

    def add_concept(
        self,
        entry: Json,
        *,
        parents: Iterable[str] = (),
        active: bool = True,
        terms: Iterable[str] = (),
        values: Iterable[tuple[str, str]] | None = None,
    ) -> None:
        """Add a concept.

        Args:
            entry: as in CodeSystem.concept, without those below it.
            parents: the codes right above it.
            active: False: it is not to be used any more.
            terms: words of these find it too, beside code, display and designations.
            values: what filters know of it, by property; None: its properties. Its definition is known too.

        Raises:
            InvalidDefinition: its code is here already, or nothing that can be kept.
        """
        code, display = _checked(entry)
        number = self.index_of(code)
        if self.names[number] is not None:
            raise InvalidDefinition(f"The code '{code}' is there twice.")
        if number >= MAX_CONCEPTS:
            raise InvalidDefinition(f"The code system has more than {MAX_CONCEPTS} concepts.")
        self.names[number] = f"{not active:d}{len(display):05d}{display}"
        self.parents[number] = tuple(dict.fromkeys(map(self.index_of, parents)))
        self.needed.update(self.parents[number])
        names = [code, display, *(each.get("value", "") for each in entry.get("designation", ())), *terms]
        row = (number, code, entry.get("display"), active, encode_body(entry), _words(names))
        self.concepts.add(number, row)
        if values is None:
            values = ((each.code, each.text) for each in properties_of(entry))
        defined = [("definition", text)] if (text := entry.get("definition")) else []
        for name, value in dict.fromkeys((*values, *defined)):
            self._add_value(name, value, number)

    def add_row(self, table: type[Row], **values: Any) -> None:
        """Add a row of a further table of `REFERENCES`, concepts by their codes.

        `n` is counted where it is not given; `dialects` of a description are (code, "p" or "a") each. A code
        that is no concept's in the end is refused where the row cannot do without, else left out.
        """
        shape = self._shape(table)
        row = [values.get(name, default) for name, default in shape.columns]
        for at in shape.references:
            if row[at] is not None:
                row[at] = self.index_of(row[at])
        if table not in LENIENT:
            self.needed.update(row[at] for at in shape.needed)
        if shape.dialects is not None:
            row[shape.dialects] = self.dialects_of(row[shape.dialects])
        self.further[table].add(row[shape.owner], row)

    def add_rows(self, table: type[Row], owner: int, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows of one concept, faster: values in the order of the columns, the release's left to us.

        Concepts are named by `index_of`, dialects by `dialects_of`. Those that must be concepts' are known
        to be.
        """
        self._shape(table)
        if rows:
            self.further[table].add(owner, *rows)

    def index_of(self, code: str) -> int:
        """What a code is called within the draft, a concept's or not."""
        found = self.index.get(code)
        if found is None:
            found = self.index[code] = len(self.names)
            self.names.append(None)
            self.parents.append(())
        return found

    def dialects_of(self, accepted: Iterable[tuple[str, str]]) -> int:
        """What the dialects of a description, (code, "p" or "a") each, are called within the draft."""
        told = tuple((self.index_of(code), how) for code, how in accepted)
        return self.dialects.setdefault(told, len(self.dialects))

    def _shape(self, table: type[Row]) -> "_Shape":
        shape = self.shapes.get(table)
        if shape is None:
            shape = self.shapes[table] = _Shape(table)
            self.further[table] = Spool(self._folder)
        return shape

    def _add_value(self, name: str, value: str, number: int) -> None:
        key = f"{name[:MAX_CODE_CHARACTERS]}\0{value[:MAX_VALUE_CHARACTERS].replace(chr(0), '')}"
        known = self.values.get(key)
        if known is None:
            self.values[key] = number
        elif isinstance(known, int):
            self.values[key] = array("I", (known, number))
        else:
            known.append(number)


class _Shape:
    """The columns of a table as `add_row` takes them."""

    def __init__(self, table: type[Row]) -> None:
        columns = table_of(table).columns
        names = [column.name for column in columns]
        needed, optional = REFERENCES[table]
        self.columns = [(name, _default(table, name)) for name in names]
        self.owner = names.index(needed[0])
        self.needed = [names.index(name) for name in needed]
        self.references = [names.index(name) for name in (*needed, *optional)]
        self.key_of = itemgetter(*(at for at, column in enumerate(columns) if column.primary_key))
        self.dialects = names.index("dialects") if "dialects" in names else None
        self.n = names.index("n") if "n" in names else None


def _default(table: type[Row], name: str) -> Any:
    field = table.model_fields[name]
    return None if field.is_required() else () if name == "dialects" else field.default


def _checked(entry: Json) -> tuple[str, str]:
    code, display = entry.get("code"), entry.get("display") or ""
    if not isinstance(code, str) or not 0 < len(code) <= MAX_CODE_CHARACTERS or "\0" in code:
        raise InvalidDefinition("A concept has no code, or none that can be kept.")
    if len(display) > MAX_DISPLAY_CHARACTERS or "\0" in display:
        raise InvalidDefinition(
            f"The display of '{code}' is longer than {MAX_DISPLAY_CHARACTERS} characters."
        )
    return code, display


def _words(terms: Sequence[str]) -> str:
    words = words_of("\n".join(dict.fromkeys(terms)))
    return " ".join(dict.fromkeys([word[:MAX_WORD_CHARACTERS] for word in words]))[:MAX_WORDS_CHARACTERS]
