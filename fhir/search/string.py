"""String parameters: "starts with", whatever the case and accents (FHIR R4 search.html#string)."""

import unicodedata
from collections.abc import Iterator
from enum import Enum
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, func

from fhir.search.value import (
    LIKE_ESCAPE,
    Asked,
    Columns,
    InvalidSearch,
    Json,
    Kind,
    Surroundings,
    Term,
    Values,
    like_pattern,
    unescape,
)
from fhir.tables import SearchString
from server.kernel.rows import table_of

HEAD_CHARACTERS = 64  # of the indexed beginning; what is asked beyond it is compared with the whole text
MAX_ASKED_CHARACTERS = 10_000  # of a text that is searched for; SQLite takes no pattern of 50,000 bytes
LAST_CHARACTER = "\U0010ffff"  # sorts after every text that goes on

_NAME_PARTS = ("text", "family", "given", "prefix", "suffix")
_ADDRESS_PARTS = ("text", "line", "city", "district", "state", "postalCode", "country")


class Text(msgspec.Struct, frozen=True):
    """One indexed value of a string parameter."""

    exact: str


def texts_of_string(text: Json, _around: Surroundings) -> Iterator[Text]:
    """A string or markdown is itself."""
    if text:
        yield Text(text)


def texts_of_human_name(name: Json, around: Surroundings) -> Iterator[Text]:
    """A HumanName matches by any of its parts."""
    yield from _parts(name, _NAME_PARTS, around)


def texts_of_address(address: Json, around: Surroundings) -> Iterator[Text]:
    """An Address matches by any of its parts."""
    yield from _parts(address, _ADDRESS_PARTS, around)


TEXTS_OF = {
    "string": texts_of_string,
    "markdown": texts_of_string,
    "HumanName": texts_of_human_name,
    "Address": texts_of_address,
}


def fold(text: str) -> str:
    """The text without case, accents and doubled spaces, as strings are compared."""
    if text.isascii():
        return " ".join(text.lower().split())
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return " ".join("".join(c for c in decomposed if not unicodedata.combining(c)).split())


def row_of_text(text: Text) -> dict[str, Any]:
    """The columns of `SearchString`."""
    folded = fold(text.exact)
    head = folded[:HEAD_CHARACTERS]
    return {"head": head, "folded": None if head == folded else folded, "exact": text.exact}


class Form(Enum):
    """How a string is asked for."""

    STARTS = "starts with"
    STARTS_LONG = "starts with more than the indexed beginning"
    EXACT = ":exact"
    CONTAINS = ":contains"
    ENDS = "ends with"
    EQUALS = "the same but for case and accents"


def read_string(asked: Asked) -> Term:
    """Starts with; `:contains` anywhere; `:exact` the same to the letter."""
    text = unescape(asked.text)
    folded = fold(text)
    if not folded:
        raise InvalidSearch(f"The value of '{asked.code}' is empty.")
    if len(folded) > MAX_ASKED_CHARACTERS:
        raise InvalidSearch(f"The value of '{asked.code}' has more than {MAX_ASKED_CHARACTERS} characters.")
    head = folded[:HEAD_CHARACTERS]
    if asked.modifier == "exact":
        return Term(Form.EXACT, (head, text))
    if asked.modifier == "contains":
        return Term(Form.CONTAINS, (f"%{like_pattern(folded)}%",))
    if asked.modifier == "ends":  # of `_filter`
        return Term(Form.ENDS, (f"%{like_pattern(folded)}",))
    if asked.modifier == "equals":
        return Term(Form.EQUALS, (head, folded))
    if len(folded) <= HEAD_CHARACTERS:
        return Term(Form.STARTS, (head, head + LAST_CHARACTER))
    return Term(Form.STARTS_LONG, (head, head + LAST_CHARACTER, f"{like_pattern(folded)}%"))


def match_string(c: Columns, form: Form, values: Values) -> ColumnElement[bool]:
    """The rows of a form with these values."""
    first, *rest = values
    if form is Form.EXACT:
        return and_(c.head == first, c.exact == rest[0])
    if form is Form.EQUALS:
        return and_(c.head == first, func.coalesce(c.folded, c.head) == rest[0])
    if form in (Form.CONTAINS, Form.ENDS):
        return func.coalesce(c.folded, c.head).like(first, escape=LIKE_ESCAPE)
    begins = and_(c.head >= first, c.head < rest[0])
    if form is Form.STARTS:
        return begins
    return and_(begins, c.folded.like(rest[1], escape=LIKE_ESCAPE))


def _parts(value: Json, names: tuple[str, ...], around: Surroundings) -> Iterator[Text]:
    for name in names:
        part = value.get(name)
        for text in part if isinstance(part, list) else (part,):
            if text:
                yield from texts_of_string(text, around)


STRING = Kind(
    table=table_of(SearchString),
    values_of=TEXTS_OF,
    row_of=row_of_text,
    read=read_string,
    match=match_string,
    modifiers=frozenset({"exact", "contains"}),
    sort_column="head",
    sort_column_descending="head",
)
