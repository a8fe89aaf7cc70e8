"""Token parameters: codes, identifiers, booleans (FHIR R4 search.html#token).

Codes are compared literally: identifiers are case-sensitive and `If-None-Exist` rests on them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, or_

from fhir.search.value import (
    Asked,
    Columns,
    InvalidSearch,
    Json,
    Kind,
    Surroundings,
    bounded,
    is_same,
    split_escaped,
    unescape,
)
from fhir.tables import SearchToken
from server.kernel.rows import table_of

IMPLIED_SYSTEM = "*"  # of a `code`: its binding implies the system, so any stated system may be meant


@dataclass(frozen=True, slots=True)
class Token:
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


def row_of_token(token: Token) -> dict[str, Any]:
    """The columns of `SearchToken`."""
    return {"system": bounded(token.system or ""), "code": bounded(token.code)}


def match_token(c: Columns, asked: Asked) -> ColumnElement[bool]:
    """`code`, `system|code`, `|code` (no system) or `system|` (any code)."""
    parts = [bounded(unescape(part)) for part in split_escaped(asked.text, "|")]
    if len(parts) == 1:
        return _code_is(c, parts[0], asked)
    if len(parts) > 2:
        raise InvalidSearch(f"The value of '{asked.code}' has more than one '|'.")
    system, code = parts
    if not code:
        if not system:
            raise InvalidSearch(f"The value of '{asked.code}' is empty.")
        return is_same(c.system, system)
    return and_(_code_is(c, code, asked), or_(c.system == system, c.system == IMPLIED_SYSTEM))


def _code_is(c: Columns, code: str, asked: Asked) -> ColumnElement[bool]:
    if not code:
        raise InvalidSearch(f"The value of '{asked.code}' is empty.")
    return is_same(c.code, code)


TOKEN = Kind(
    table=table_of(SearchToken),
    values_of=TOKENS_OF,
    row_of=row_of_token,
    match=match_token,
    modifiers=frozenset({"not"}),
    sort_column="code",
    sort_column_descending="code",
)
