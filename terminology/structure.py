"""The shape of definitions and codes that a request brings along (FHIR R4 json.html).

Only what the operations read is looked at, and only its types: a definition may be of another version of
FHIR, or of a draft, and say more. What lies in the record was validated when it was written.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from terminology.code_system import Content
from terminology.issues import InvalidInput

Json = Any

MAX_CONCEPT_DEPTH = 60  # concepts within one another


@dataclass(frozen=True, slots=True)
class _Element:
    """What an element is: of one of these types, or with these elements."""

    kind: "tuple[type, ...] | Mapping[str, _Element]"
    many: bool = False
    required: bool = False


_text = _Element((str,))
_needed = _Element((str,), required=True)
_flag = _Element((bool,))
_texts = _Element((str,), many=True)
_number = _Element((int, Decimal))
_many = partial(_Element, many=True)

_CODING: Mapping[str, _Element] = {
    "system": _text, "version": _text, "code": _text, "display": _text, "userSelected": _flag,
}  # fmt: skip
_coding = _Element(_CODING)
_EXTENSION: dict[str, _Element] = {"url": _needed}
_extensions = _many(_EXTENSION)
_EXTENSION["extension"] = _extensions
_DESIGNATION: Mapping[str, _Element] = {
    "language": _text, "use": _coding, "value": _needed, "extension": _extensions,
}  # fmt: skip
_PROPERTY: Mapping[str, _Element] = {
    "code": _needed, "valueCode": _text, "valueString": _text, "valueBoolean": _flag, "valueDateTime": _text,
    "valueCoding": _coding, "valueInteger": _number, "valueDecimal": _number,
}  # fmt: skip
_CONCEPT: dict[str, _Element] = {
    "code": _needed, "display": _text, "definition": _text, "designation": _many(_DESIGNATION),
    "property": _many(_PROPERTY), "extension": _extensions,
}  # fmt: skip
_CONCEPT["concept"] = _many(_CONCEPT)
_DEFINITION: Mapping[str, _Element] = {
    "id": _text, "url": _text, "version": _text, "name": _text, "title": _text, "status": _text,
    "language": _text, "experimental": _flag, "extension": _extensions, "contained": _many({}),
}  # fmt: skip
_CODE_SYSTEM: Mapping[str, _Element] = {
    **_DEFINITION, "content": _text, "caseSensitive": _flag, "compositional": _flag, "versionNeeded": _flag,
    "hierarchyMeaning": _text, "supplements": _text, "valueSet": _text, "concept": _many(_CONCEPT),
    "property": _many({"code": _needed, "uri": _text, "type": _text}),
}  # fmt: skip
_INCLUDED: Mapping[str, _Element] = {
    "system": _text, "version": _text, "valueSet": _texts, "extension": _extensions,
    "concept": _many({
        "code": _needed, "display": _text, "designation": _many(_DESIGNATION), "extension": _extensions,
    }),
    "filter": _many({"property": _text, "op": _text, "value": _text}),
}  # fmt: skip
_COMPOSE: Mapping[str, _Element] = {
    "lockedDate": _text, "inactive": _flag, "include": _many(_INCLUDED), "exclude": _many(_INCLUDED),
    "extension": _extensions,
}  # fmt: skip
_CONTAINS: dict[str, _Element] = {
    "system": _text, "version": _text, "code": _text, "display": _text, "abstract": _flag, "inactive": _flag,
    "designation": _many(_DESIGNATION), "extension": _extensions,
}  # fmt: skip
_CONTAINS["contains"] = _many(_CONTAINS)
_EXPANSION: Mapping[str, _Element] = {
    "identifier": _text, "timestamp": _text, "total": _number, "offset": _number,
    "contains": _many(_CONTAINS), "extension": _extensions,
    "parameter": _many({"name": _text}),
}  # fmt: skip
_VALUE_SET: Mapping[str, _Element] = {
    **_DEFINITION, "compose": _Element(_COMPOSE), "expansion": _Element(_EXPANSION),
}  # fmt: skip
_RELATED: Mapping[str, _Element] = {
    "property": _text, "attribute": _text, "system": _text, "value": _text, "display": _text,
    "valueCoding": _coding, "valueCode": _text, "valueString": _text,
}  # fmt: skip
_TARGET: Mapping[str, _Element] = {
    "code": _text, "display": _text, "equivalence": _text, "relationship": _text,
    "dependsOn": _many(_RELATED), "product": _many(_RELATED),
}  # fmt: skip
_GROUP: Mapping[str, _Element] = {
    "source": _text, "sourceVersion": _text, "target": _text, "targetVersion": _text,
    "element": _many({"code": _text, "display": _text, "noMap": _flag, "target": _many(_TARGET)}),
    "unmapped": _Element({
        "mode": _text, "code": _text, "display": _text, "url": _text, "otherMap": _text,
        "equivalence": _text, "relationship": _text,
    }),
}  # fmt: skip
_CONCEPT_MAP: Mapping[str, _Element] = {
    **_DEFINITION, "group": _many(_GROUP), "sourceUri": _text, "sourceCanonical": _text, "targetUri": _text,
    "targetCanonical": _text, "sourceScopeUri": _text, "sourceScopeCanonical": _text, "targetScopeUri": _text,
    "targetScopeCanonical": _text,
}  # fmt: skip

SHAPES: Mapping[str, Mapping[str, _Element]] = {
    "CodeSystem": _CODE_SYSTEM,
    "ValueSet": _VALUE_SET,
    "ConceptMap": _CONCEPT_MAP,
}
_CONTENTS = frozenset(Content)


def require_definition(resource: Json, expression: str) -> None:
    """Let pass a CodeSystem, ValueSet or ConceptMap that the operations can read.

    Raises:
        InvalidInput: it is none, or an element is not what it must be.
    """
    kind = str(resource.get("resourceType")) if isinstance(resource, dict) else ""
    if kind not in SHAPES:
        raise InvalidInput("A CodeSystem, a ValueSet or a ConceptMap is needed here.", expression=expression)
    _require(resource, SHAPES[kind], kind)
    if kind == "CodeSystem" and resource.get("content", "complete") not in _CONTENTS:
        raise InvalidInput("The code is not one of CodeSystemContentMode.", expression="CodeSystem.content")
    for contained in resource.get("contained", ()):
        if str(contained.get("resourceType")) in SHAPES:
            require_definition({**contained, "contained": []}, expression)


def require_coding(value: Json, expression: str) -> None:
    """Let pass a Coding.

    Raises:
        InvalidInput: an element is not what it must be.
    """
    _require(value, _CODING, expression)


def require_codeable_concept(value: Json, expression: str) -> None:
    """Let pass a CodeableConcept.

    Raises:
        InvalidInput: an element is not what it must be.
    """
    _require(value, {"coding": _many(_CODING), "text": _text}, expression)


def _require(value: Json, elements: Mapping[str, _Element], path: str) -> None:
    problem = next(_problems(value, elements, path, 0), None)
    if problem is not None:
        raise InvalidInput("The element is not what it must be here.", expression=problem)


def _problems(value: Json, elements: Mapping[str, _Element], path: str, depth: int) -> Iterator[str]:
    """The paths of elements that are not as told."""
    if not isinstance(value, dict) or depth > MAX_CONCEPT_DEPTH:
        yield path
        return
    for name, element in elements.items():
        if name not in value:
            if element.required:
                yield f"{path}.{name}"
            continue
        yield from _problems_of_element(value[name], element, f"{path}.{name}", depth)


def _problems_of_element(value: Json, element: _Element, path: str, depth: int) -> Iterator[str]:
    if element.many and not isinstance(value, list):
        yield path
        return
    for each in value if element.many else (value,):
        if isinstance(element.kind, tuple):
            if not isinstance(each, element.kind) or (isinstance(each, bool) and bool not in element.kind):
                yield path
        else:
            yield from _problems(each, element.kind, path, depth + 1)
