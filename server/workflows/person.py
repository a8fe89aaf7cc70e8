"""What a Patient of the record says of its person, in DICOM's words (PS3.3 C.7.1.1). Pure.

The way back of `fhir/model/builders/dicom_values.py`. What has no exact counterpart is left out: a study then
shows what it was sent.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from dicomweb.attributes import DicomJson
from dicomweb.wire.dicom_json import data_set, element
from fhir.model import systems

Json = Any
SEX_OF: Mapping[str, str] = {"male": "M", "female": "F", "other": "O"}
GROUP_OF: Mapping[str, str] = {"IDE": "Ideographic", "SYL": "Phonetic"}  # others are the alphabetic one
USES = ("official", "usual", None)  # of a name; the first that there is counts
MAX_GROUP_CHARACTERS = 64  # of a component group (PS3.5 Table 6.2-1)


def person_of(elements: Mapping[str, bytes]) -> DicomJson:
    """Name, birth date and sex of a Patient, from the texts of its elements."""
    said = {name: msgspec.json.decode(elements[name]) for name in _READ if name in elements}
    found = [element(keyword, value) for keyword, value in _values(said)]
    return data_set(*found)


_READ = ("name", "gender", "birthDate")


def _values(said: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    if name := _person_name(said.get("name", [])):
        yield "PatientName", name
    if sex := SEX_OF.get(said.get("gender", "")):
        yield "PatientSex", sex
    date = said.get("birthDate", "").replace("-", "")
    if len(date) == 8:  # a year alone is no DA
        yield "PatientBirthDate", date


def _person_name(names: list[Json]) -> dict[str, str]:
    for use in USES:
        of_use = [name for name in names if use is None or name.get("use") == use]
        groups: dict[str, str] = {}
        for name in of_use:
            groups.setdefault(_group_of(name), _components(name))
        found = {group: text for group, text in groups.items() if text}
        if found:
            return found
    return {}


def _group_of(name: Json) -> str:
    extensions = name.get("extension", [])
    codes = [e.get("valueCode") for e in extensions if e.get("url") == systems.NAME_REPRESENTATION_EXTENSION]
    return GROUP_OF.get(codes[0] if codes else "", "Alphabetic")


def _components(name: Json) -> str:
    """Family, given, middle, prefix, suffix (PS3.5 §6.2.1)."""
    given = name.get("given", [])
    parts = [name.get("family", ""), " ".join(given[:1]), " ".join(given[1:])]
    parts += [" ".join(name.get(each, [])) for each in ("prefix", "suffix")]
    text = "^".join(map(_plain, parts)).rstrip("^")
    return (text or _plain(name.get("text", "")))[:MAX_GROUP_CHARACTERS]


def _plain(text: str) -> str:
    """A component without what would end it."""
    kept = "".join(" " if c in "^=\\" or not c.isprintable() else c for c in text)
    return " ".join(kept.split())
