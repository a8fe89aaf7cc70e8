"""What every kind of search value needs: the written value of a query, bounds of the index, faults."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, Table
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from fhir.model.validation.issue import IssueType
from fhir.outcome import FhirFault
from server.kernel.faults import FaultKind

Json = Any
Columns = ReadOnlyColumnCollection[str, Any]  # those of an index table, or of an alias of it

# PostgreSQL takes index entries up to 2,704 bytes; four columns of 500 characters of UTF-8 stay under it
# in any realistic mix, and no published code, identifier or URI of a resource comes near.
MAX_INDEXED_CHARACTERS = 500
_DIGEST_CHARACTERS = 64
LIKE_ESCAPE = "/"


class InvalidSearch(FhirFault):
    """A search that cannot be understood; the message names the parameter, never its value."""

    kind = FaultKind.INVALID
    issue_type = IssueType.VALUE


class UnsupportedSearch(FhirFault):
    """A search that FHIR defines and this server does not offer; to ignore it would widen the result."""

    kind = FaultKind.INVALID
    issue_type = IssueType.NOT_SUPPORTED


class Prefix(Enum):
    """Prefixes of ordered values (FHIR R4 search.html#prefix)."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    LT = "lt"
    GE = "ge"
    LE = "le"
    SA = "sa"
    EB = "eb"
    AP = "ap"


PREFIXES = {prefix.value: prefix for prefix in Prefix}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the meaning of a value may depend on beside the value."""

    zone: tzinfo  # of dates that state none
    base_url: str  # of this server's own resources, without a final slash
    now_us: int  # for the prefix "ap"


@dataclass(frozen=True, slots=True)
class Asked:
    """One value of a query: raw text with its escapes, modifier, and where it was asked."""

    code: str
    text: str
    modifier: str | None
    around: Surroundings
    targets: tuple[str, ...] = ()  # of a reference parameter
    datatypes: frozenset[str] = frozenset()  # of the elements that the parameter looks at; empty: not known


@dataclass(frozen=True, slots=True)
class Term:
    """One value of a query, understood: how it compares, and with what.

    Statements are kept by their forms and executed with the values (`fhir/search/prepared.py`).
    """

    form: Hashable
    values: tuple[Any, ...]


ValuesOf = Callable[[Json, Surroundings], Iterable[Any]]
Values = Sequence[ColumnElement[Any]]  # those of a Term, as the statement holds them


@dataclass(frozen=True, slots=True)
class Kind:
    """How one type of search parameter is indexed and asked."""

    table: Table
    values_of: Mapping[str, ValuesOf]  # by datatype
    row_of: Callable[[Any], dict[str, Any]]
    read: Callable[[Asked], Term]
    match: Callable[[Columns, Any, Values], ColumnElement[bool]]  # of a form, with its values in place
    modifiers: frozenset[str]
    sort_column: str
    sort_column_descending: str


def bounded(text: str) -> str:
    """The text as it is indexed and asked for: a long one as its beginning and the digest of the whole."""
    if len(text) <= MAX_INDEXED_CHARACTERS:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return text[: MAX_INDEXED_CHARACTERS - _DIGEST_CHARACTERS] + digest


def split_prefix(text: str) -> tuple[Prefix, str]:
    """The prefix of an ordered value (eq where none is written) and the rest."""
    prefix = PREFIXES.get(text[:2])
    return (prefix, text[2:]) if prefix else (Prefix.EQ, text)


def split_escaped(text: str, separator: str) -> list[str]:
    r"""Split at each `separator` without a backslash before it; escapes stay (search.html#escaping)."""
    if "\\" not in text:
        return text.split(separator)
    parts: list[str] = []
    current: list[str] = []
    escaped = False
    for character in text:
        if character == separator and not escaped:
            parts.append("".join(current))
            current = []
            continue
        current.append(character)
        escaped = character == "\\" and not escaped
    return [*parts, "".join(current)]


def unescape(text: str) -> str:
    r"""The text with `\,`, `\$`, `\|` and `\\` replaced by the character meant."""
    if "\\" not in text:
        return text
    out, escaped = [], False
    for character in text:
        if character == "\\" and not escaped:
            escaped = True
            continue
        out.append(character)
        escaped = False
    return "".join(out)


def like_pattern(text: str) -> str:
    """The text for LIKE with `LIKE_ESCAPE`: `%` and `_` are meant as written."""
    for special in (LIKE_ESCAPE, "%", "_"):
        text = text.replace(special, LIKE_ESCAPE + special)
    return text
