"""Whose a study is shown to be once its Patient was merged into another (DESIGN §5; IHE RAD PIR). Pure.

Patient ID with its issuer, so that reading them back names the survivor's identifier again, and what the
record knows of the person. What it does not know stays as sent.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from dicomweb.attributes import DicomJson, keys_of
from dicomweb.store.identity import NAMED_ISSUER_PREFIX
from dicomweb.wire.dicom_json import data_set, element, sequence
from server.kernel.patients import PatientIdentifier
from server.kernel.site import Site

Json = Any
OID_PREFIX = "urn:oid:"
IDENTITY = keys_of("""
PatientID IssuerOfPatientID IssuerOfPatientIDQualifiersSequence PatientName PatientBirthDate PatientSex
""")


def shown_of_survivor(
    identifiers: Sequence[PatientIdentifier], person: Mapping[str, Json], system: str | None, site: Site
) -> DicomJson:
    """The attributes of a merged study: of several identifiers the one of `system`, the study's own, or else
    the first.
    """
    usable = [each for each in identifiers if _is_text(each.value) and _is_text(each.system)]
    if not usable:
        return dict(person)
    same = [each for each in usable if each.system == system]
    chosen = (same or usable)[0]
    return data_set(element("PatientID", chosen.value), _issuer(chosen.system, site), person)


def _is_text(text: str) -> bool:
    """Whether an LO can hold it, as one value; the record's identifiers may be anything."""
    return "\\" not in unquote(text) and unquote(text).isprintable()


def _issuer(system: str, site: Site) -> DicomJson:
    """The attributes that `dicomweb.store.identity` reads as this system."""
    named = {system_: issuer for issuer, system_ in site.system_of_issuer.items()}
    if system == site.patient_system:
        return data_set(element("IssuerOfPatientID"), sequence("IssuerOfPatientIDQualifiersSequence", []))
    if system in named:
        issuer = named[system]
    elif system.startswith(OID_PREFIX):
        issuer = system.removeprefix(OID_PREFIX)
    else:
        issuer = unquote(system.removeprefix(NAMED_ISSUER_PREFIX))
    qualifiers = []
    if system.startswith(OID_PREFIX) and system not in named:
        qualifiers = [data_set(element("UniversalEntityID", issuer), element("UniversalEntityIDType", "ISO"))]
    return data_set(
        element("IssuerOfPatientID", issuer),
        sequence("IssuerOfPatientIDQualifiersSequence", qualifiers),
    )
