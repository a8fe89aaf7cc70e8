"""URI parameters: the same to the letter; `:below`, `:above` by path segments (search.html#uri)."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, and_, or_

from fhir.search.string import LAST_CHARACTER
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
    unescape,
)
from fhir.tables import SearchUri
from server.kernel.rows import table_of


def uris_of_text(text: Json, _around: Surroundings) -> Iterator[str]:
    """A uri, url or canonical is itself."""
    if text:
        yield text


URIS_OF = {"uri": uris_of_text, "url": uris_of_text, "canonical": uris_of_text}


def row_of_uri(uri: str) -> dict[str, Any]:
    """The columns of `SearchUri`."""
    return {"uri": bounded(uri)}


def read_uri(asked: Asked) -> Term:
    """Equal; `:below` what begins with it, `:above` what it begins with."""
    uri = bounded(unescape(asked.text))
    if not uri:
        raise InvalidSearch(f"The value of '{asked.code}' is empty.")
    if asked.modifier == "below":
        inside = uri.rstrip("/") + "/"
        return Term("below", (uri, inside, inside + LAST_CHARACTER))
    if asked.modifier == "starts":  # of `_filter`
        return Term("below", (uri, uri, uri + LAST_CHARACTER))
    if asked.modifier == "above":
        return Term("any", tuple(dict.fromkeys(_above(uri))))
    return Term("any", (uri,))


def match_uri(c: Columns, form: str, values: Values) -> ColumnElement[bool]:
    """The rows of a form with these values."""
    if form == "below":
        uri, inside, beyond = values
        return or_(c.uri == uri, and_(c.uri >= inside, c.uri < beyond))
    is_one: ColumnElement[bool] = c.uri.in_(list(values))
    return is_one


def _above(uri: str) -> Iterator[str]:
    yield uri
    scheme, separator, rest = uri.partition("://")
    while "/" in rest:
        rest = rest.rpartition("/")[0]
        yield f"{scheme}{separator}{rest}"
        yield f"{scheme}{separator}{rest}/"


URI = Kind(
    table=table_of(SearchUri),
    values_of=URIS_OF,
    row_of=row_of_uri,
    read=read_uri,
    match=match_uri,
    modifiers=frozenset({"below", "above"}),
    sort_column="uri",
    sort_column_descending="uri",
)
