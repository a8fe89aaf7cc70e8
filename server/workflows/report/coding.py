"""DICOM coded concepts as FHIR codings (PS3.16 Table 8-1; FHIR R4 terminologies-systems.html)."""

from collections.abc import Mapping
from typing import Any

from dicomweb.attributes import DicomJson
from fhir.model import systems
from fhir.model.builders.datatypes import coding, concept
from server.workflows.report.concepts import LATERALITY
from server.workflows.report.content import Concept, Key, items_of, text_of, uid_of

Json = Any


class Schemes:
    """The coding schemes of one document: those with a FHIR URI of their own, else the OIDs that it states.

    A designator that nothing explains gives no system: it is unique within its document only. `names`: what
    code systems call concepts that the document calls otherwise.
    """

    def __init__(self, document: DicomJson, names: Mapping[Key, str] | None = None) -> None:
        self._names = names or {}
        self._stated: dict[str, str] = {}
        for item in items_of(document, "CodingSchemeIdentificationSequence"):
            designator, uid = text_of(item, "CodingSchemeDesignator"), uid_of(item, "CodingSchemeUID")
            if designator and uid:
                self._stated[designator] = f"urn:oid:{uid}"

    def system(self, found: Concept) -> str | None:
        """The FHIR URI of a concept's coding scheme."""
        if known := systems.OF_SCHEME.get(found.scheme):
            return known
        if found.scheme_uid is not None:
            return f"urn:oid:{found.scheme_uid}"
        return self._stated.get(found.scheme)

    def codeable(self, found: Concept, text: str | None = None) -> dict[str, Json]:
        """A CodeableConcept with the equivalent codes that the document states."""
        codings = [
            coding(self.system(each), each.value, self._names.get(each.key, each.meaning))
            for each in (found, *found.equivalents)
        ]
        return concept(*codings, text=text or found.meaning)

    def body_site(self, site: Concept, laterality: Concept | None) -> dict[str, Json]:
        """A body site with its side: as text, and post-coordinated when SNOMED CT names both.

        R4 has no element for the side (BodyStructure aside); `A:272741003=B` is SNOMED CT's own way.
        """
        if laterality is None:
            return self.codeable(site)
        text = f"{site.meaning}, {laterality.meaning}"
        found = self.codeable(site, text)
        if site.scheme == laterality.scheme == "SCT":
            expression = f"{site.value}:{LATERALITY[0]}={laterality.value}"
            found["coding"].append(coding(systems.SNOMED_CT, expression, text))
        return found
