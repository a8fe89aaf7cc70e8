"""DICOM JSON that we write ourselves, and reading values out of it (PS3.18 F.2).

`data_set(element("SOPInstanceUID", uid), sequence("FailedSOPSequence", items))` is a DICOM JSON object.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from dicomweb.wire.dictionary import KEYS, key_of, tag_of, vr_of
from dicomweb.wire.values import person_name
from dicomweb.wire.walk import BULK_PREFIX

Json = Any
_PLACEHOLDER = b'"BulkDataURI":"' + BULK_PREFIX.encode("ascii")


def element(keyword: str, *values: Json, vr: str | None = None) -> dict[str, Json]:
    """One attribute as a DICOM JSON object of its own; without values it is empty.

    `values` are in their JSON form; a PN may be given as text, an AT as the keyword of what it names. `vr` is
    needed only where the dictionary offers a choice and the first is not meant.
    """
    tag = tag_of(keyword)
    if tag is None:
        raise KeyError(keyword)
    vr = vr or vr_of(tag)
    if not values:
        return {KEYS[tag]: {"vr": vr}}
    adapt = _ADAPT.get(vr)
    return {KEYS[tag]: {"vr": vr, "Value": [adapt(value) for value in values] if adapt else list(values)}}


def _name(value: Json) -> Json:
    return person_name(value) if isinstance(value, str) else value


def _tag(value: Json) -> Json:
    tag = tag_of(value)
    return value if tag is None else KEYS[tag]


_ADAPT = {"PN": _name, "AT": _tag}


def sequence(keyword: str, items: Iterable[dict[str, Json]]) -> dict[str, Json]:
    """A sequence attribute; without items it is empty."""
    return element(keyword, *items)


def data_set(*elements: Mapping[str, Json]) -> dict[str, Json]:
    """One DICOM JSON object of these, attributes in ascending order; a later one replaces an earlier one."""
    joined: dict[str, Json] = {}
    for each in elements:
        joined.update(each)
    return dict(sorted(joined.items()))


def values_of(dicom_json: Mapping[str, Json], keyword: str) -> list[Json]:
    """The values of an attribute; none when it is absent, empty or bulk data."""
    values: list[Json] = dicom_json.get(key_of(keyword), {}).get("Value", [])
    return values


def value_of(dicom_json: Mapping[str, Json], keyword: str) -> Json | None:
    """The first value of an attribute, None when it has none."""
    values = values_of(dicom_json, keyword)
    return values[0] if values else None


def text_of(dicom_json: Mapping[str, Json], keyword: str) -> str:
    """The first value as text, names as `Alphabetic=Ideographic=Phonetic`; empty when there is none."""
    value = value_of(dicom_json, keyword)
    if isinstance(value, dict):
        return name_text(value)
    return "" if value is None else str(value)


def name_text(name: Mapping[str, str]) -> str:
    """The component groups of a PN as DICOM writes them (PS3.5 §6.2.1.1)."""
    groups = (name.get("Alphabetic", ""), name.get("Ideographic", ""), name.get("Phonetic", ""))
    return "=".join(groups).rstrip("=")


def items_of(dicom_json: Mapping[str, Json], keyword: str) -> list[dict[str, Json]]:
    """The items of a sequence; none when it is absent, empty, or was sent as something else."""
    return [item for item in values_of(dicom_json, keyword) if isinstance(item, dict)]


def absolute_bulk_uris(serialized: bytes, instance_url: str) -> bytes:
    """Compact DICOM JSON bytes (as orjson writes them) with each relative BulkDataURI under `instance_url`.

    A plain replacement is safe: in compact JSON these bytes occur at that member only, since a quote within
    text is escaped.
    """
    url = orjson.dumps(instance_url.rstrip("/") + "/")[1:-1]
    return serialized.replace(_PLACEHOLDER, b'"BulkDataURI":"' + url + BULK_PREFIX.encode("ascii"))
