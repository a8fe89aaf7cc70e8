"""Whose study it is: issuer mapping and demographics (DESIGN §5, Identity)."""

import pytest
from pydicom.dataset import Dataset

from dicomweb.store.identity import demographics, patient_identifier
from server.kernel.patients import Demographics, PatientIdentifier
from server.kernel.site import Site

SITE = Site(patient_system="urn:site", system_of_issuer={"WARD": "https://ward.example/ids"})


def qualifiers(entity_id: str, kind: str) -> list[Dataset]:
    item = Dataset()
    item.UniversalEntityID, item.UniversalEntityIDType = entity_id, kind
    return [item]


@pytest.mark.parametrize(
    ("attributes", "system"),
    [
        pytest.param({}, "urn:site", id="none: the site's"),
        pytest.param({"IssuerOfPatientID": "WARD"}, "https://ward.example/ids", id="by the site's table"),
        pytest.param({"IssuerOfPatientID": "1.2.3"}, "urn:oid:1.2.3", id="an OID"),
        pytest.param({"IssuerOfPatientID": "urn:x:y"}, "urn:x:y", id="a URI"),
        pytest.param({"IssuerOfPatientID": "Ward 7"}, "urn:isthmus:issuer:Ward%207", id="a text"),
        pytest.param(
            {
                "IssuerOfPatientID": "WARD",
                "IssuerOfPatientIDQualifiersSequence": qualifiers("2.16.840", "ISO"),
            },
            "urn:oid:2.16.840",
            id="qualifiers first",
        ),
        pytest.param(
            {"IssuerOfPatientIDQualifiersSequence": qualifiers("2.16 840", "ISO")},
            "urn:isthmus:issuer:2.16%20840",
            id="qualifiers that are no OID",
        ),
        pytest.param(
            {
                "IssuerOfPatientID": "WARD",
                "IssuerOfPatientIDQualifiersSequence": qualifiers("ward.example", "DNS"),
            },
            "https://ward.example/ids",
            id="qualifiers of another type",
        ),
    ],
)
def test_issuer_of_patient_id(attributes: dict, system: str) -> None:
    dataset = Dataset()
    dataset.PatientID = " P1 "
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    assert patient_identifier(dataset.to_json_dict(), SITE) == PatientIdentifier(system, "P1")


@pytest.mark.parametrize("patient_id", ["", "  "])
def test_empty_patient_id_identifies_nobody(patient_id: str) -> None:
    assert patient_identifier({"00100020": {"vr": "LO", "Value": [patient_id]}}, SITE) is None
    assert patient_identifier({"00100020": {"vr": "LO"}}, SITE) is None
    assert patient_identifier({}, SITE) is None


@pytest.mark.parametrize(
    ("birth_date", "sex", "name", "expected"),
    [
        ("19700102", "F", "Müller^Jörg^K", Demographics("1970-01-02", "female", "muller jorg")),
        ("1970.01.02", "m", "Doe", Demographics("1970-01-02", "male", "doe")),
        ("unknown", "O", "^", Demographics(None, "other", None)),
        ("", "", "", Demographics()),
    ],
)
def test_demographics(birth_date: str, sex: str, name: str, expected: Demographics) -> None:
    dicom_json = {
        "00100030": {"vr": "DA", "Value": [birth_date]},
        "00100040": {"vr": "CS", "Value": [sex]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]},
    }
    assert demographics(dicom_json) == expected
