"""Token parameters: codes, identifiers, booleans (FHIR R4 search.html#token).

Codes are compared literally: identifiers are case-sensitive and `If-None-Exist` rests on them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

import msgspec
import orjson
from sqlalchemy import ColumnElement, and_, or_

from fhir.search.value import (
    Asked,
    Columns,
    InvalidSearch,
    Json,
    Kind,
    Surroundings,
    Term,
    Values,
    bounded,
    split_escaped,
    unescape,
)
from fhir.tables import SearchToken
from server.kernel.one_of import one_of
from server.kernel.rows import table_of

IMPLIED_SYSTEM = "*"  # of a `code`: its binding implies the system, so any stated system may be meant
OF_TYPE = "of-type"
LISTED = "listed"  # no modifier of a client: what `:in` and its like have become (`fhir/search/codes.py`)
_IMPLYING = frozenset({"code", "boolean"})  # datatypes whose tokens have `IMPLIED_SYSTEM`


class Token(msgspec.Struct, frozen=True):
    """One indexed value of a token parameter (FHIR R4 search.html#token)."""

    system: str | None  # None: the resource states no system
    code: str


def tokens_of_coding(coding: Json, _around: Surroundings) -> Iterator[Token]:
    """A Coding is its system and code."""
    if code := coding.get("code"):
        yield Token(coding.get("system"), code)


def tokens_of_codeable_concept(concept: Json, around: Surroundings) -> Iterator[Token]:
    """A CodeableConcept is each of its codings."""
    for coding in concept.get("coding", ()):
        yield from tokens_of_coding(coding, around)


def tokens_of_identifier(identifier: Json, _around: Surroundings) -> Iterator[Token]:
    """An Identifier is its system and value."""
    if value := identifier.get("value"):
        yield Token(identifier.get("system"), value)


def tokens_of_contact_point(contact: Json, _around: Surroundings) -> Iterator[Token]:
    """A ContactPoint is its value; its system is no token system."""
    if value := contact.get("value"):
        yield Token(None, value)


def tokens_of_code(code: Json, _around: Surroundings) -> Iterator[Token]:
    """A code, its system implied by the element."""
    yield Token(IMPLIED_SYSTEM, code)


def tokens_of_text(text: Json, _around: Surroundings) -> Iterator[Token]:
    """A string, uri or id is itself."""
    yield Token(None, text)


def tokens_of_boolean(value: Json, _around: Surroundings) -> Iterator[Token]:
    """A boolean is "true" or "false"."""
    yield Token(IMPLIED_SYSTEM, "true" if value else "false")


TOKENS_OF = {
    "Coding": tokens_of_coding,
    "CodeableConcept": tokens_of_codeable_concept,
    "Identifier": tokens_of_identifier,
    "ContactPoint": tokens_of_contact_point,
    "code": tokens_of_code,
    "string": tokens_of_text,
    "uri": tokens_of_text,
    "id": tokens_of_text,
    "boolean": tokens_of_boolean,
}


def texts_of_concept(concept: Json, around: Surroundings) -> Iterator[str]:
    """What stands for a CodeableConcept to a reader: its text, and the displays of its codings."""
    if text := concept.get("text"):
        yield text
    for coding in concept.get("coding", ()):
        yield from texts_of_coding(coding, around)


def texts_of_coding(coding: Json, _around: Surroundings) -> Iterator[str]:
    """A Coding's display."""
    if display := coding.get("display"):
        yield display


def texts_of_identifier(identifier: Json, _around: Surroundings) -> Iterator[str]:
    """The text of an Identifier's type."""
    if text := (identifier.get("type") or {}).get("text"):
        yield text


# For `:text` (search.html#token); the texts are indexed as those of a string parameter with the same number.
TOKEN_TEXTS_OF = {
    "CodeableConcept": texts_of_concept,
    "Coding": texts_of_coding,
    "Identifier": texts_of_identifier,
}


def typed_identifiers(identifier: Json, _around: Surroundings) -> Iterator[Token]:
    """For `:of-type`: an Identifier's value under each coding of its type, which stands in for a system."""
    value = identifier.get("value")
    for coding in (identifier.get("type") or {}).get("coding", ()) if value else ():
        if code := coding.get("code"):
            yield Token(_type_mark(coding.get("system") or "", code), value)


TYPES_OF = {"Identifier": typed_identifiers}


def _type_mark(system: str, code: str) -> str:
    return f"of-type {system}|{code}"  # no URI, so no system


def row_of_token(token: Token) -> dict[str, Any]:
    """The columns of `SearchToken`."""
    return {"system": bounded(token.system or ""), "code": bounded(token.code)}


class Form(Enum):
    """How a token is asked for."""

    CODE = "code, whatever its system"
    IMPLIED = "code, its system implied by every element of the parameter"
    EXACT = "system and code"  # no element implies a system
    EITHER = "code, its system that one or implied"
    SYSTEM = "any code of a system"
    LISTED_IMPLIED = "one of many codes, their system implied"
    LISTED_EXACT = "one of many codes of a system"
    LISTED_EITHER = "one of many codes, their system that one or implied"


def read_token(asked: Asked) -> Term:
    """`code`, `system|code`, `|code` (no system) or `system|` (any code)."""
    if asked.modifier == OF_TYPE:
        return _read_of_type(asked)
    if asked.modifier == LISTED:
        return _read_listed(asked)
    parts = [bounded(unescape(part)) for part in split_escaped(asked.text, "|")]
    if len(parts) > 2:
        raise InvalidSearch(f"The value of '{asked.code}' has more than one '|'.")
    system, code = parts if len(parts) == 2 else (None, parts[0])
    if not code:
        if not system:
            raise InvalidSearch(f"The value of '{asked.code}' is empty.")
        return Term(Form.SYSTEM, (system,))
    if asked.datatypes and asked.datatypes <= _IMPLYING:
        return Term(Form.IMPLIED, (code,))
    if system is None:
        return Term(Form.CODE, (code,))
    exact = asked.datatypes and asked.datatypes.isdisjoint(_IMPLYING)
    return Term(Form.EXACT if exact else Form.EITHER, (code, system))


def list_codes(system: str, codes: Iterable[str]) -> str:
    """The value of the modifier `LISTED`: many codes of a system."""
    return orjson.dumps([bounded(system), [bounded(code) for code in codes]]).decode()


def _read_listed(asked: Asked) -> Term:
    system, codes = orjson.loads(asked.text)
    listed = orjson.dumps(codes).decode()
    if asked.datatypes and asked.datatypes <= _IMPLYING:
        return Term(Form.LISTED_IMPLIED, (listed,))
    exact = asked.datatypes and asked.datatypes.isdisjoint(_IMPLYING)
    return Term(Form.LISTED_EXACT if exact else Form.LISTED_EITHER, (listed, system))


def _read_of_type(asked: Asked) -> Term:
    """`type system|type code|value`."""
    parts = [unescape(part) for part in split_escaped(asked.text, "|")]
    if len(parts) != 3 or not all(parts[1:]):
        raise InvalidSearch(f"The value of '{asked.code}:{OF_TYPE}' is not system|code|value.")
    return Term(Form.EXACT, (bounded(parts[2]), bounded(_type_mark(parts[0], parts[1]))))


def match_token(c: Columns, form: Form, values: Values) -> ColumnElement[bool]:
    """The rows of a form with these values."""
    first, *rest = values
    meanings: Mapping[Form, Callable[[], ColumnElement[bool]]] = {
        Form.CODE: lambda: and_(c.code == first),
        Form.IMPLIED: lambda: and_(c.code == first, c.system == IMPLIED_SYSTEM),
        Form.EXACT: lambda: and_(c.code == first, c.system == rest[0]),
        Form.EITHER: lambda: and_(c.code == first, or_(c.system == rest[0], c.system == IMPLIED_SYSTEM)),
        Form.SYSTEM: lambda: and_(c.system == first),
        Form.LISTED_IMPLIED: lambda: and_(one_of(c.code, first), c.system == IMPLIED_SYSTEM),
        Form.LISTED_EXACT: lambda: and_(one_of(c.code, first), c.system == rest[0]),
        Form.LISTED_EITHER: lambda: and_(
            one_of(c.code, first), or_(c.system == rest[0], c.system == IMPLIED_SYSTEM)
        ),
    }
    return meanings[form]()


TOKEN = Kind(
    table=table_of(SearchToken),
    values_of=TOKENS_OF,
    row_of=row_of_token,
    read=read_token,
    match=match_token,
    modifiers=frozenset({"not", "text", OF_TYPE, "in", "not-in", "above", "below"}),
    sort_column="code",
    sort_column_descending="code",
)
