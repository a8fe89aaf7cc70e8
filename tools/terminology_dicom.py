"""DICOM's terminology (PS3.16) from the dictionaries of the installed pydicom (MIT licence).

- DCM, whole: every code of Annex D with its meaning; definitions where HL7's edition of 2011 has them.
- Each context group (CID) that has concepts of DCM, SNOMED CT and UCUM only as a ValueSet, by the URL that
  FHIR's bindings use.
- SNOMED CT as a fragment: the concepts of the context groups, which DICOM is licensed to use (see NOTICE),
  and those that HL7's value sets name.

A code has several meanings where context groups call it differently. The display is HL7's (DCM), else the one
that most of them use; the others are designations (those of no context group: full names, Annex O).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pydicom
from pydicom.sr._cid_dict import cid_concepts, name_for_cid
from pydicom.sr._concepts_dict import concepts

from tools.terminology_hl7 import concept

Json = Any

DICOM = "http://dicom.nema.org/resources/ontology/DCM"
SNOMED_CT = "http://snomed.info/sct"
# By coding scheme designator (PS3.16 Table 8-1). Context groups with concepts of other schemes (LOINC, UMLS,
# RadLex, 11073-10101 and their like) are left out whole: each of those has a licence of its own, and a group
# without some of its concepts would say what is not so.
SYSTEMS: Mapping[str, str] = {
    "DCM": DICOM,
    "SCT": SNOMED_CT,
    "UCUM": "http://unitsofmeasure.org",
}
SNOMED_NOTICE = (
    "SNOMED CT is the copyright of SNOMED International. These concepts of the context groups of "
    "DICOM PS3.16 and of HL7's value sets are used by the agreements of SNOMED International with NEMA and "
    "HL7; other use needs a licence: https://www.snomed.org/get-snomed"
)
SYNONYM = {"system": SNOMED_CT, "code": "900000000000013009", "display": "Synonym"}
FULLY_SPECIFIED = {"system": SNOMED_CT, "code": "900000000000003001", "display": "Fully specified name"}
CONTEXT_GROUP = "http://dicom.nema.org/medical/dicom/current/output/chtml/part16/sect_CID_{}.html"
R4_CID_29 = "http://hl7.org/fhir/ValueSet/dicom-cid29"  # a value set of R4 imports it, and R4 lacks it

Meanings = dict[str, dict[str, list[int]]]  # code -> meaning -> context groups that call it so


def resources(older: Json, named: Mapping[str, str | None]) -> Iterator[Json]:
    """Everything of DICOM; `older` is HL7's edition of DCM, `named` what HL7 names of SNOMED CT."""
    yield dcm(older)
    yield snomed_ct(named)
    yield from context_groups()
    yield {
        **_value_set(R4_CID_29, "dicom-cid29", "DicomCid29", "DICOM CID 29: Acquisition Modality"),
        "compose": {"include": [{"valueSet": [CONTEXT_GROUP.format(29)]}]},
    }


def meanings_of(scheme: str) -> Meanings:
    found: Meanings = defaultdict(dict)
    for by_code in concepts[scheme].values():
        for code, (meaning, cids) in by_code.items():
            found[code].setdefault(_clean(meaning), []).extend(cids)
    return dict(sorted(found.items(), key=lambda each: (len(each[0]), each[0])))


def _clean(text: str) -> str:
    return text.replace("\u200b", "")  # pydicom's source breaks long words with it


def by_use(meanings: dict[str, list[int]], preferred: str | None = None) -> list[str]:
    """The meanings of a code: the preferred one, then that of the most context groups."""
    return sorted(meanings, key=lambda each: (each != preferred, -len(meanings[each]), each))


def dcm(older: Json) -> Json:
    known = {each["code"]: each for each in older["concept"]}
    entries = []
    for code, meanings in meanings_of("DCM").items():
        old = known.get(code, {})
        first, *others = by_use(meanings, old.get("display"))
        entry = {"code": code, "display": first}
        entry |= {name: old[name] for name in ("definition", "property", "extension") if name in old}
        if others:
            entry["designation"] = [{"language": "en", "value": each} for each in others]
        entries.append(entry)
    return {
        "resourceType": "CodeSystem",
        "id": "dicom-dcim",
        "url": DICOM,
        "identifier": older["identifier"],
        "version": "01",
        "name": "DCM",
        "title": "DICOM Controlled Terminology Definitions",
        "status": "active",
        "publisher": "NEMA/DICOM",
        "description": f"DICOM PS3.16 Annex D, from the dictionaries of pydicom {pydicom.__version__}.",
        "copyright": "DICOM PS3.16, copyright by the National Electrical Manufacturers Association.",
        "caseSensitive": True,
        "valueSet": older["valueSet"],
        "content": "complete",
        "count": len(entries),
        "property": older["property"],
        "concept": entries,
    }


def snomed_ct(named: Mapping[str, str | None]) -> Json:
    """The concepts of the context groups, and those that HL7 names, by code with their displays."""
    entries = []
    for code, meanings in meanings_of("SCT").items():
        if not any(meanings.values()):
            continue  # in no context group
        first, *others = by_use(meanings)
        entry: dict[str, Json] = {"code": code, "display": first}
        if others:
            entry["designation"] = [
                {"language": "en", "use": _use(each, meanings[each]), "value": each} for each in others
            ]
        entries.append(entry)
    known = {each["code"] for each in entries}
    entries += [concept(code, display) for code, display in sorted(named.items()) if code not in known]
    return {
        "resourceType": "CodeSystem",
        "id": "snomed-ct-in-dicom-and-fhir",
        "url": SNOMED_CT,
        "name": "SNOMEDCT",
        "title": "SNOMED CT",
        "status": "active",
        "description": "Concepts in the context groups of DICOM PS3.16 and in value sets of FHIR R4.",
        "copyright": SNOMED_NOTICE,
        "caseSensitive": True,
        "content": "fragment",
        "count": len(entries),
        "concept": entries,
    }


def _use(meaning: str, cids: list[int]) -> Json:
    """A fully specified name ends with the kind of the concept, as in "Pleura (body structure)"."""
    return FULLY_SPECIFIED if not cids and re.search(r" \([a-z][a-z /]*\)$", meaning) else SYNONYM


def context_groups() -> Iterator[Json]:
    for cid, by_scheme in sorted(cid_concepts.items()):
        if not by_scheme.keys() <= SYSTEMS.keys():
            continue
        name = name_for_cid[cid]
        includes = [_include(cid, scheme, keywords) for scheme, keywords in sorted(by_scheme.items())]
        value_set = _value_set(
            CONTEXT_GROUP.format(cid), f"dicom-cid-{cid}", name, f"CID {cid}: {_words(name)}"
        )
        if includes:  # a dozen have no members in pydicom
            yield {**value_set, "compose": {"include": includes}}


def _value_set(url: str, id_: str, name: str, title: str) -> Json:
    return {
        "resourceType": "ValueSet",
        "id": id_,
        "url": url,
        "name": name,
        "title": title,
        "status": "active",
        "publisher": "NEMA/DICOM",
        "description": "Context group of DICOM PS3.16, with those that it includes.",
    }


def _include(cid: int, scheme: str, keywords: Iterable[str]) -> Json:
    found = [_member(cid, concepts[scheme][keyword]) for keyword in keywords]
    return {
        "system": SYSTEMS[scheme],
        "concept": sorted(found, key=lambda each: (each["display"].casefold(), each["code"])),
    }


def _member(cid: int, by_code: Mapping[str, tuple[str, list[int]]]) -> Json:
    """The code that a keyword means in a context group, as pydicom's `Collection` tells it."""
    members = (
        [code for code, (_, cids) in by_code.items() if cid in cids] if len(by_code) > 1 else list(by_code)
    )
    (code,) = members
    return {"code": code, "display": _clean(by_code[code][0])}


def _words(keyword: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", keyword)
