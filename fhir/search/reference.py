"""Reference parameters: to our resources by type and id, to others by URL (FHIR R4 search.html#reference)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_

from fhir.search.definitions import resource_types
from fhir.search.value import (
    Asked,
    Columns,
    InvalidSearch,
    Json,
    Kind,
    Surroundings,
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


@dataclass(frozen=True, slots=True)
class Target:
    """One indexed value of a reference parameter."""

    type: str | None = None
    id: str | None = None
    url: str | None = None
    version: str | None = None
    identifier_system: str | None = None
    identifier_value: str | None = None


def parse_literal(text: str, base_url: str) -> Target:
    """What a literal reference points to: a resource of ours by type and id, anything else by its URL."""
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


def match_reference(c: Columns, asked: Asked) -> ColumnElement[bool]:
    """`id`, `Type/id`, a URL, `url|version`; `:Type` with an id, `:identifier` with a token."""
    if not asked.text:
        raise InvalidSearch(f"The value of '{asked.code}' is empty.")
    if asked.modifier == "identifier":
        return _match_identifier(c, asked)
    text = unescape(asked.text)
    if _ID.fullmatch(text):
        same_id: ColumnElement[bool] = c.target_id == text
        return and_(same_id, c.target_type == asked.modifier) if asked.modifier else same_id
    return _match_literal(c, text, asked)


def _match_literal(c: Columns, text: str, asked: Asked) -> ColumnElement[bool]:
    target = parse_literal(text, asked.around.base_url)
    if target.url is None:
        if asked.modifier and asked.modifier != target.type:
            raise InvalidSearch(f"The value of '{asked.code}:{asked.modifier}' has another type.")
        return and_(c.target_id == target.id, c.target_type == target.type)
    url, _, version = target.url.partition("|")
    same = c.url == bounded(url)
    return and_(same, c.version == bounded(version)) if version else and_(same)


def _match_identifier(c: Columns, asked: Asked) -> ColumnElement[bool]:
    parts = [bounded(unescape(part)) for part in split_escaped(asked.text, "|")]
    if len(parts) > 2 or not parts[-1]:
        raise InvalidSearch(f"The value of '{asked.code}:identifier' is not system|value.")
    same_value: ColumnElement[bool] = c.identifier_value == parts[-1]
    if len(parts) == 1:
        return same_value
    system = c.identifier_system == parts[0] if parts[0] else c.identifier_system.is_(None)
    return and_(same_value, system)


def _bounded(text: str | None) -> str | None:
    return None if text is None else bounded(text)


REFERENCE = Kind(
    table=table_of(SearchReference),
    values_of=TARGETS_OF,
    row_of=row_of_target,
    match=match_reference,
    modifiers=frozenset({"identifier"}) | resource_types(),
    sort_column="target_id",
    sort_column_descending="target_id",
)
