"""Reference parameters: to our resources by type and id, to others by URL (FHIR R4 search.html#reference)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_

from fhir.search.definitions import resource_types
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
from fhir.tables import SearchReference
from server.kernel.rows import table_of

_LITERAL = re.compile(
    r"(?:(?P<base>[A-Za-z][A-Za-z0-9+.\-]*:.*)/)?"
    r"(?P<type>[A-Z][A-Za-z]{2,})/(?P<id>[A-Za-z0-9\-.]{1,64})(?:/_history/(?P<version>[A-Za-z0-9\-.]{1,64}))?"
)
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


PARSED_KEPT, LONGEST_KEPT = 4_096, 200  # literals: those of one patient's resources are few, again and again


class Target(msgspec.Struct, frozen=True):
    """One indexed value of a reference parameter."""

    type: str | None = None
    id: str | None = None
    url: str | None = None
    version: str | None = None
    identifier_system: str | None = None
    identifier_value: str | None = None


def parse_literal(text: str, base_url: str) -> Target:
    """What a literal reference points to: a resource of ours by type and id, anything else by its URL."""
    return _parse(text, base_url) if len(text) <= LONGEST_KEPT else _parse.__wrapped__(text, base_url)


@lru_cache(PARSED_KEPT)
def _parse(text: str, base_url: str) -> Target:
    match = _LITERAL.fullmatch(text)
    if match and match["type"] in resource_types() and match["base"] in (None, base_url):
        return Target(type=match["type"], id=match["id"])
    return Target(url=text)


def targets_of_reference(reference: Json, around: Surroundings) -> Iterator[Target]:
    """A Reference by its literal, its identifier or both; one to a contained resource leads nowhere."""
    identifier = reference.get("identifier") or {}
    literal = reference.get("reference") or ""
    found = Target() if not literal or literal.startswith("#") else parse_literal(literal, around.base_url)
    if identifier.get("value") or found != Target():
        yield Target(
            found.type or reference.get("type"),
            found.id,
            found.url,
            identifier_system=identifier.get("system"),
            identifier_value=identifier.get("value"),
        )


def targets_of_canonical(canonical: Json, around: Surroundings) -> Iterator[Target]:
    """A canonical or uri is its URL and, after "|", a version."""
    url, _, version = canonical.partition("|")
    ours = parse_literal(url, around.base_url)
    yield Target(ours.type, ours.id, url, version or None)


def targets_of_attachment(attachment: Json, around: Surroundings) -> Iterator[Target]:
    """An Attachment is its URL."""
    if url := attachment.get("url"):
        yield parse_literal(url, around.base_url)


def targets_of_resource(resource: Json, _around: Surroundings) -> Iterator[Target]:
    """A resource inside a Bundle is itself."""
    if resource.get("id"):
        yield Target(resource.get("resourceType"), resource["id"])


TARGETS_OF = {
    "Reference": targets_of_reference,
    "canonical": targets_of_canonical,
    "uri": targets_of_canonical,
    "Attachment": targets_of_attachment,
    "Resource": targets_of_resource,
}


def row_of_target(target: Target) -> dict[str, Any]:
    """The columns of `SearchReference`."""
    return {
        "target_type": _bounded(target.type),
        "target_id": target.id,
        "url": _bounded(target.url),
        "version": _bounded(target.version),
        "identifier_system": _bounded(target.identifier_system),
        "identifier_value": _bounded(target.identifier_value),
    }


class Form(Enum):
    """How a reference is asked for."""

    ID = "an id, whatever the type"
    TYPED = "type and id"
    URL = "a URL that is not ours"
    VERSION = "a canonical with its version"
    IDENTIFIER = "an identifier's value, whatever its system"
    NO_SYSTEM = "an identifier's value without system"
    SYSTEM = "an identifier's value and system"


def read_reference(asked: Asked) -> Term:
    """`id`, `Type/id`, a URL, `url|version`; `:Type` with an id, `:identifier` with a token."""
    if not asked.text:
        raise InvalidSearch(f"The value of '{asked.code}' is empty.")
    if asked.modifier == "identifier":
        return _read_identifier(asked)
    text = unescape(asked.text)
    if _ID.fullmatch(text):
        return Term(Form.TYPED, (text, asked.modifier)) if asked.modifier else Term(Form.ID, (text,))
    target = parse_literal(text, asked.around.base_url)
    if target.url is None:
        if asked.modifier and asked.modifier != target.type:
            raise InvalidSearch(f"The value of '{asked.code}:{asked.modifier}' has another type.")
        return Term(Form.TYPED, (target.id, target.type))
    url, _, version = target.url.partition("|")
    return (
        Term(Form.VERSION, (bounded(url), bounded(version))) if version else Term(Form.URL, (bounded(url),))
    )


def _read_identifier(asked: Asked) -> Term:
    parts = [bounded(unescape(part)) for part in split_escaped(asked.text, "|")]
    if len(parts) > 2 or not parts[-1]:
        raise InvalidSearch(f"The value of '{asked.code}:identifier' is not system|value.")
    if len(parts) == 1:
        return Term(Form.IDENTIFIER, (parts[0],))
    system, value = parts
    return Term(Form.SYSTEM, (value, system)) if system else Term(Form.NO_SYSTEM, (value,))


_COLUMNS_OF: Mapping[Form, Sequence[str]] = {  # that have the values, in their order
    Form.ID: ("target_id",),
    Form.TYPED: ("target_id", "target_type"),
    Form.URL: ("url",),
    Form.VERSION: ("url", "version"),
    Form.IDENTIFIER: ("identifier_value",),
    Form.NO_SYSTEM: ("identifier_value",),
    Form.SYSTEM: ("identifier_value", "identifier_system"),
}


def match_reference(c: Columns, form: Form, values: Values) -> ColumnElement[bool]:
    """The rows of a form with these values."""
    terms = [c[name] == value for name, value in zip(_COLUMNS_OF[form], values, strict=True)]
    if form is Form.NO_SYSTEM:
        terms.append(c.identifier_system.is_(None))
    return and_(*terms)


def _bounded(text: str | None) -> str | None:
    return None if text is None else bounded(text)


REFERENCE = Kind(
    table=table_of(SearchReference),
    values_of=TARGETS_OF,
    row_of=row_of_target,
    read=read_reference,
    match=match_reference,
    modifiers=frozenset({"identifier"}) | resource_types(),
    sort_column="target_id",
    sort_column_descending="target_id",
)
