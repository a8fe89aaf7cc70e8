"""Whose study it is: the patient identifier and demographics of a data set (DESIGN §5, Identity).

The issuer of a Patient ID, as FHIR `Identifier.system`, is the first of: the ISO identifier of Issuer of
Patient ID Qualifiers Sequence (0010,0024) as `urn:oid:`; Issuer of Patient ID (0010,0021) through the site's
table, or itself when it is a URI or an OID, or else `urn:isthmus:issuer:` and its percent-encoded text;
the site's own. An ISO identifier that is no OID counts as text: a system must be a URI, or the record cannot
hold the patient.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

import orjson

from dicomweb.attributes import Json, items, text, values
from dicomweb.normal_forms import normal_date
from dicomweb.wire.dictionary import key_of
from server.kernel.patients import Demographics, PatientIdentifier, fold_name
from server.kernel.site import Site

PATIENT_ID = key_of("PatientID")
PATIENT_NAME = key_of("PatientName")
PATIENT_BIRTH_DATE = key_of("PatientBirthDate")
PATIENT_SEX = key_of("PatientSex")
ISSUER_OF_PATIENT_ID = key_of("IssuerOfPatientID")
ISSUER_QUALIFIERS_SEQUENCE = key_of("IssuerOfPatientIDQualifiersSequence")
UNIVERSAL_ENTITY_ID = key_of("UniversalEntityID")
UNIVERSAL_ENTITY_ID_TYPE = key_of("UniversalEntityIDType")

NAMED_ISSUER_PREFIX = "urn:isthmus:issuer:"
MAX_IDENTIFIER_CHARACTERS = (
    128  # of a Patient ID and an issuer; an LO has 64, and an index takes 2.7 kB of both
)
MAX_IDENTIFIER_BYTES = 2048  # of each attribute that it is made of, as JSON
_IDENTIFYING = (PATIENT_ID, ISSUER_OF_PATIENT_ID, ISSUER_QUALIFIERS_SEQUENCE)
GENDER_OF: Mapping[str, str] = {"M": "male", "F": "female", "O": "other"}  # PS3.3 C.7.1.1; others say nothing
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*))+")
_URI = re.compile(r"(?:urn|https?):[^\s\"<>\\^`{|}]+", re.IGNORECASE)


def patient_identifier(dicom_json: Mapping[str, Json], site: Site) -> PatientIdentifier | None:
    """The identifier of the data set's patient; None when Patient ID is absent or empty."""
    value = text(dicom_json, PATIENT_ID)
    return PatientIdentifier(_issuer_system(dicom_json, site), value) if value else None


def overlong_identifier(dicom_json: Mapping[str, Json]) -> str | None:
    """The attribute of the patient's identifier that is longer than this server can keep; None: none is."""
    named = (name for name in _IDENTIFYING if name in dicom_json)
    return next((name for name in named if _is_overlong(dicom_json, name)), None)


def _is_overlong(dicom_json: Mapping[str, Json], name: str) -> bool:
    found = values(dicom_json, name)
    if len(found) == 1 and isinstance(found[0], str):
        return len(found[0]) > MAX_IDENTIFIER_CHARACTERS
    if "BulkDataURI" in dicom_json[name] or len(orjson.dumps(found)) > MAX_IDENTIFIER_BYTES:
        return True
    entities = (text(item, UNIVERSAL_ENTITY_ID) for item in items(dicom_json, name))
    return any(len(entity) > MAX_IDENTIFIER_CHARACTERS for entity in entities)


def demographics(dicom_json: Mapping[str, Json]) -> Demographics:
    """What the data set says of the patient, in FHIR's terms."""
    date = normal_date(text(dicom_json, PATIENT_BIRTH_DATE))
    return Demographics(
        birth_date=f"{date[:4]}-{date[4:6]}-{date[6:]}" if date else None,
        sex=GENDER_OF.get(text(dicom_json, PATIENT_SEX).upper()),
        name_folded=_folded_name(dicom_json),
    )


def _issuer_system(dicom_json: Mapping[str, Json], site: Site) -> str:
    for item in items(dicom_json, ISSUER_QUALIFIERS_SEQUENCE):
        if text(item, UNIVERSAL_ENTITY_ID_TYPE) == "ISO" and (oid := text(item, UNIVERSAL_ENTITY_ID)):
            return _system_of_text(oid)
    issuer = text(dicom_json, ISSUER_OF_PATIENT_ID)
    if not issuer:
        return site.patient_system
    return site.system_of_issuer.get(issuer) or _system_of_text(issuer)


def _system_of_text(issuer: str) -> str:
    if _OID.fullmatch(issuer):
        return f"urn:oid:{issuer}"
    return issuer if _URI.fullmatch(issuer) else NAMED_ISSUER_PREFIX + quote(issuer, safe="")


def _folded_name(dicom_json: Mapping[str, Json]) -> str | None:
    found = values(dicom_json, PATIENT_NAME)
    alphabetic = (found[0].get("Alphabetic") or "") if found and isinstance(found[0], dict) else ""
    family, _, given = alphabetic.partition("^")
    return fold_name(family, given.partition("^")[0])
