"""Parts of a resource: `_summary` and `_elements` (FHIR R4 search.html#summary, #elements).

Texts of elements are kept as stored; what is left out is left out whole. Mandatory elements always stay, so
that the part is a valid resource, and with `_elements` modifier elements too: without them it could not be
read safely. A part is tagged SUBSETTED.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache, lru_cache
from typing import Optional

import msgspec
import orjson

from fhir.model.validation.definitions import Element, Structure, structure_of

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_SUBSETTED = orjson.dumps(
    {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
)
_ALWAYS = ("resourceType", "id", "meta")

Kept = Mapping[str, Optional["Kept"]]  # JSON names of elements; None: whole, else these of its own


class Summary(Enum):
    """`_summary` where it shortens resources (`count` and `false` do not)."""

    TRUE = "true"
    TEXT = "text"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class Subset:
    """What is asked for: a summary, or the elements of these names."""

    summary: Summary | None = None
    elements: frozenset[str] = frozenset()


def subset_text(text: bytes, resource_type: str, subset: Subset) -> bytes:
    """The text of that part of a resource."""
    members = _MEMBERS.decode(text)
    if subset.elements:
        chosen = _chosen(members, _of_elements(resource_type, subset.elements))
    elif subset.summary is Summary.DATA:
        chosen = {name: bytes(value) for name, value in members.items() if name not in ("text", "_text")}
    else:
        of_summary = _of_text if subset.summary is Summary.TEXT else _of_summary
        chosen = _chosen(members, of_summary(resource_type))
    return _joined(chosen | {"meta": _tagged(members)})


def _chosen(members: Mapping[str, msgspec.Raw], kept: Kept) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, value in members.items():
        plain = name.removeprefix("_")  # beside a primitive stand its id and extensions
        if plain in kept:
            inner = kept[plain]
            found[name] = bytes(value) if inner is None else _within(bytes(value), inner)
    return found


def _within(value: bytes, kept: Kept) -> bytes:
    if value.lstrip()[:1] == b"[":
        return b"[" + b",".join(_within(bytes(item), kept) for item in _ITEMS.decode(value)) + b"]"
    return _joined(_chosen(_MEMBERS.decode(value), kept))


@cache
def _of_summary(resource_type: str) -> Kept:
    structure = structure_of(resource_type)
    return {**dict.fromkeys(_ALWAYS), **_summarized(structure, "")}


def _summarized(structure: Structure, path: str) -> Kept:
    kept: dict[str, Kept | None] = {}
    for element in structure.elements.get(path, ()):
        if element.summary or element.min:
            below = f"{path}.{element.name}".lstrip(".")
            inner = _summarized(structure, below) if below in structure.elements else None
            kept.update(dict.fromkeys(_json_names(element), inner))
    if path:
        kept.update(dict.fromkeys(("id", "extension", "modifierExtension")))
    return kept


@cache
def _of_text(resource_type: str) -> Kept:
    mandatory = (element for element in structure_of(resource_type).elements[""] if element.min)
    return dict.fromkeys((*_ALWAYS, "text", *(name for each in mandatory for name in _json_names(each))))


@lru_cache(maxsize=200)
def _of_elements(resource_type: str, elements: frozenset[str]) -> Kept:
    wanted = (
        name
        for element in structure_of(resource_type).elements[""]
        if element.min or element.modifier or element.name in elements
        for name in _json_names(element)
    )
    return dict.fromkeys((*_ALWAYS, *wanted, *elements))


def _json_names(element: Element) -> list[str]:
    if not element.choice:
        return [element.name]
    return [element.name + reference.code[0].upper() + reference.code[1:] for reference in element.types]


def _tagged(members: Mapping[str, msgspec.Raw]) -> bytes:
    meta = {n: bytes(v) for n, v in _MEMBERS.decode(members["meta"]).items()} if "meta" in members else {}
    tags = [bytes(tag) for tag in _ITEMS.decode(meta["tag"])] if "tag" in meta else []
    meta["tag"] = b"[" + b",".join([*tags, _SUBSETTED]) + b"]"
    return _joined(meta)


def _joined(members: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(orjson.dumps(name) + b":" + value for name, value in members.items()) + b"}"
