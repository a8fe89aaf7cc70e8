"""URIs of the code and identifier systems that this server writes (FHIR R4 terminologies-systems.html)."""

from collections.abc import Mapping

SNOMED_CT = "http://snomed.info/sct"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
ISTHMUS = "https://isthmus.health/fhir/CodeSystem/isthmus"  # DICOM coding scheme 99ISTHMUS

OF_SCHEME: Mapping[str, str] = {  # by DICOM coding scheme designator (PS3.16 Table 8-1)
    "SCT": SNOMED_CT,
    "DCM": DICOM,
    "LN": LOINC,
    "UCUM": UCUM,
    "99ISTHMUS": ISTHMUS,
    "RADLEX": "http://www.radlex.org",
    "RXNORM": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "I9C": "http://hl7.org/fhir/sid/icd-9-cm",
    "NCIt": "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl",
    "RFC5646": "urn:ietf:bcp:47",
}

DICOM_UID = (
    "urn:dicom:uid"  # Identifier.system of a UID, whose value is urn:oid:… (FHIR R4 imagingstudy.html)
)
URI = "urn:ietf:rfc:3986"  # of what is a URI itself

IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
DIAGNOSTIC_SERVICE_SECTION = "http://terminology.hl7.org/CodeSystem/v2-0074"
OBSERVATION_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
DATA_ABSENT_REASON = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
DATA_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
PARTICIPANT_TYPE = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
TASK_CODE = "http://hl7.org/fhir/CodeSystem/task-code"
ENDPOINT_CONNECTION = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
ENDPOINT_PAYLOAD = "http://terminology.hl7.org/CodeSystem/endpoint-payload-type"
SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"

DATA_ABSENT_REASON_EXTENSION = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
NAME_REPRESENTATION_EXTENSION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
OAUTH_URIS_EXTENSION = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
REQUIRES_ACCESS_TOKEN_EXTENSION = (  # SMART Imaging Access (Argonaut)
    "http://fhir.org/argonaut/smart-imaging/StructureDefinition/requires-access-token"  # noqa: S105  a URL
)
