"""Where a resource links to another, by its structure (FHIR R4 http.html#trules).

Linking are Reference.reference, values of type uri, url, oid and uuid, and `href` and `src` in narratives;
values of type canonical are not. Each type becomes a table of its linking properties when it is first met.
"""

from collections.abc import Mapping
from enum import Enum
from functools import cache

from fhir.model.validation.definitions import (
    PRIMITIVE,
    Element,
    TypeReference,
    resource_types,
    structure_of,
)


class Link(Enum):
    """What a linking property holds."""

    REFERENCE = "reference"  # the text of a Reference
    URI = "uri"  # one URI, or an array of them
    NARRATIVE = "narrative"  # XHTML
    RESOURCE = "resource"  # another resource, or an array of them


Below = tuple[str, str]  # a type, and the path of a backbone element within it
Place = Link | Below

_URIS = frozenset({"uri", "url", "oid", "uuid"})


@cache
def places_of(type_name: str, below: str = "") -> Mapping[str, Place]:
    """By property name, what may link or hold what links; other properties never do."""
    elements = structure_of(type_name).elements.get(below, ())
    if type_name == "Reference" and not below:
        return {**_places(type_name, below, elements), "reference": Link.REFERENCE}
    return _places(type_name, below, elements)


def _places(type_name: str, below: str, elements: tuple[Element, ...]) -> dict[str, Place]:
    places: dict[str, Place] = {}
    for element in elements:
        if element.same_as is not None:
            owner, _, path = element.same_as.partition(".")
            places[element.name] = (owner, path)
        for type_ in element.types:
            name = _property(element, type_)
            place = _place(type_name, f"{below}.{element.name}".lstrip("."), type_)
            if place is not None:
                places[name] = place
            if structure_of(type_.structure).kind == PRIMITIVE:
                places[f"_{name}"] = ("Element", "")
    return places


def _place(type_name: str, path: str, type_: TypeReference) -> Place | None:
    if path in structure_of(type_name).elements:
        return type_name, path
    if type_.code in _URIS:
        return Link.URI
    if type_.code == "xhtml":
        return Link.NARRATIVE
    if type_.code == "Resource":
        return Link.RESOURCE
    return None if structure_of(type_.structure).kind == PRIMITIVE else (type_.structure, "")


def _property(element: Element, type_: TypeReference) -> str:
    return f"{element.name}{type_.code[0].upper()}{type_.code[1:]}" if element.choice else element.name


def is_resource_type(name: object) -> bool:
    """Whether this is the name of a resource type, so that `places_of` knows it."""
    return isinstance(name, str) and name in resource_types()
