"""The value set of the element that `context` names (FHIR R4 valueset-operation-expand.html).

`[StructureDefinition URL]#[name or path]`: what is stored goes up its chain of base definitions to R4's own
types, of which the required and extensible bindings are here. Both directions have the same value set.
"""

import re
from collections.abc import Iterator
from typing import Any

from fhir.exchange import FhirRequest
from fhir.interactions.door import Door
from fhir.interactions.library import library_with
from fhir.model.profiles import Library
from fhir.model.validation.definitions import Element, is_type, structure_of
from server.kernel.access import Permission
from server.kernel.faults import Forbidden
from terminology.inputs import text_of
from terminology.issues import InvalidInput, NotKnown

Json = Any

CONTEXT, DIRECTION = "context", "contextDirection"
MAX_BASES = 20  # definitions that are based on one another
_R4_TYPES = "http://hl7.org/fhir/StructureDefinition/"
_DIRECTIONS = frozenset({None, "incoming", "outgoing"})
_SLICE = re.compile(r":[^.]*")


async def name_by_context(door: Door, request: FhirRequest, inputs: dict[str, list[Any]]) -> None:
    """Put `url` in the place of `context`, where that is given.

    Raises:
        InvalidInput: it names no element, or the value set is named otherwise too.
        NotKnown: no binding of the element is known.
    """
    context = text_of(inputs, CONTEXT)
    if context is None:
        return
    url, _, place = context.partition("#")
    if not url or not place:
        raise InvalidInput("'context' is the URL of a StructureDefinition, '#', and a path in it.")
    if request.resource_id is not None or "url" in inputs or "valueSet" in inputs:
        raise InvalidInput("The value set is named by 'url', by 'valueSet' or by 'context'.")
    if text_of(inputs, DIRECTION) not in _DIRECTIONS:
        raise InvalidInput("'contextDirection' is 'incoming' or 'outgoing'.")
    value_set = await _bound_to(door, request, url, place)
    if value_set is None:
        raise NotKnown(f"No binding of '{context}' is known here.", expression=CONTEXT)
    inputs.pop(CONTEXT)
    inputs.pop(DIRECTION, None)
    inputs["url"] = [value_set]


async def _bound_to(door: Door, request: FhirRequest, url: str, place: str) -> str | None:
    profiles = await _stored(door, request, url)
    for _ in range(MAX_BASES):
        definition = profiles.structure(url)
        if definition is None:
            break
        if (found := _binding(definition, place)) is not None:
            return found
        url = str(definition.get("baseDefinition", ""))
    return _of_type(url.partition("|")[0].removeprefix(_R4_TYPES), _SLICE.sub("", place))


async def _stored(door: Door, request: FhirRequest, url: str) -> Library:
    """The StructureDefinitions that are stored and that the caller may read."""
    try:
        request.access.reach("StructureDefinition", Permission.READ)
    except Forbidden:
        return Library()
    database = door.services.database
    async with database.read() as connection:
        return await library_with(database, connection, [url], door.services.clock())


def _binding(definition: Json, place: str) -> str | None:
    """The value set of the first element that has this id, path or name of a slice, and a binding."""
    part = definition.get("snapshot") or definition.get("differential") or {}
    bound = [each for each in part.get("element", ()) if each.get("binding", {}).get("valueSet")]
    for name in ("id", "path", "sliceName"):
        for each in bound:
            if each.get(name) == place:
                return str(each["binding"]["valueSet"])
    return None


def _of_type(type_name: str, place: str) -> str | None:
    """The value set of an element of one of R4's own types."""
    root, *names = place.split(".")
    if root != type_name or not names or not is_type(type_name):
        return None
    elements, path = structure_of(type_name).elements, ""
    for at, name in enumerate(names):
        element = next((each for each in elements.get(path, ()) if name in _names(each)), None)
        if element is None:
            return None
        if at == len(names) - 1:
            return element.value_set or element.extensible
        path = element.same_as.partition(".")[2] if element.same_as else f"{path}.{element.name}".lstrip(".")
    return None


def _names(element: Element) -> Iterator[str]:
    yield f"{element.name}[x]" if element.choice else element.name
