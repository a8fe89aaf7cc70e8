"""Corrections are read, and checked by VR (PS3.5 Table 6.2-1)."""

from typing import Any

import orjson
import pytest

from dicomweb.attributes import ATTRIBUTES_OF, Level
from dicomweb.overlay.correctable import CORRECTABLE, SEVERAL
from dicomweb.overlay.value_rules import RULES, normal_attribute
from dicomweb.wire.dictionary import vr_of
from server.kernel.faults import Fault
from server.workflows.corrections.requests import Asked, read_correction
from server.workflows.deletion.requests import InvalidRequest


def asked(body: dict[str, Any], *, series: bool = False) -> Asked:
    return read_correction(orjson.dumps(body), Level.SERIES if series else Level.STUDY)


@pytest.mark.parametrize(
    ("attributes", "series", "why"),
    [
        pytest.param({"PatientID": "P2"}, False, "merge the Patients", id="whose it is"),
        pytest.param({"IssuerOfPatientID": "X"}, False, "merge the Patients", id="in whose identifiers"),
        pytest.param({"StudyInstanceUID": "1.2"}, False, "UID", id="a UID"),
        pytest.param({"SOPClassUID": "1.2"}, False, "no attribute of a study", id="the SOP class"),
        pytest.param({"Rows": 5}, False, "no attribute of a study", id="pixels"),
        pytest.param({"InstanceNumber": 5}, True, "no attribute of a series", id="of an instance"),
        pytest.param({"Modality": "MR"}, True, "how the object is to be read", id="the kind"),
        pytest.param({"PatientName": "X^Y"}, True, "whole study", id="of the study, at a series"),
        pytest.param({"SeriesDescription": "x"}, False, "whole series", id="of a series, at the study"),
        pytest.param({"00091001": "x"}, False, "no attribute of a study", id="private"),
        pytest.param({"nonsense": "x"}, False, "no attribute of a study", id="unknown"),
        pytest.param({"PatientBirthDate": "19700230"}, False, "PatientBirthDate", id="no day"),
        pytest.param({"StudyTime": "25"}, False, "StudyTime", id="no hour"),
        pytest.param({"PatientSex": "female"}, False, "PatientSex", id="no code"),
        pytest.param({"AccessionNumber": "x" * 17}, False, "AccessionNumber", id="too long"),
        pytest.param({"PatientName": "A=B\\C"}, False, "PatientName", id="a name that is two"),
        pytest.param({"StudyDescription": "a\nb"}, False, "StudyDescription", id="two lines"),
        pytest.param({"StudyID": {"Value": ["a", "b"]}}, False, "one value", id="two values"),
        pytest.param({"StudyID": {"vr": "LO", "Value": ["a"]}}, False, "StudyID", id="another VR"),
        pytest.param({"StudyID": {"BulkDataURI": "x"}}, False, "StudyID", id="bulk data"),
        pytest.param({"StudyID": "a", "00200010": "b"}, False, "twice", id="twice"),
        pytest.param({"SeriesNumber": 1.5}, True, "SeriesNumber", id="no whole number"),
        pytest.param({}, False, "1 to 64", id="nothing"),
    ],
)
def test_what_is_refused(attributes: dict[str, Any], series: bool, why: str) -> None:
    said = {name: each if isinstance(each, dict) else {"Value": [each]} for name, each in attributes.items()}
    with pytest.raises(Fault, match=why) as refused:
        asked({"reason": "x", "attributes": said}, series=series)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"\xff", b'{"reason": "x"}', b'{"reason": " ", "attributes": {"StudyID": {}}}', b"[" * 9999],
)
def test_bodies_that_are_none(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_correction(body, Level.STUDY)


def test_values_become_what_store_would_have_read() -> None:
    said = {
        "PatientName": {"Value": ["Roe^Zoë"]},
        "00101010": {"Value": ["041Y"]},
        "PatientWeight": {"Value": ["70.50"]},
        "StudyDescription": {"vr": "LO", "Value": ["Head  "]},
        "PhysiciansOfRecord": {"Value": [{"Alphabetic": "A"}, {"Ideographic": "山田"}]},
        "PatientSex": {"vr": "CS"},
    }
    assert asked({"reason": " why ", "attributes": said}) == Asked(
        {
            "00081030": {"vr": "LO", "Value": ["Head"]},
            "00081048": {"vr": "PN", "Value": [{"Alphabetic": "A"}, {"Ideographic": "山田"}]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Roe^Zoë"}]},
            "00100040": {"vr": "CS"},
            "00101010": {"vr": "AS", "Value": ["041Y"]},
            "00101030": {"vr": "DS", "Value": [70.5]},
        },
        "why",
    )


def test_every_attribute_that_may_be_corrected_has_rules() -> None:
    for level, keys in CORRECTABLE.items():
        assert keys < ATTRIBUTES_OF[level]
        assert {vr_of(int(key, 16)) for key in keys} <= RULES.keys() | {"PN", "SQ"}
    assert not CORRECTABLE[Level.STUDY] & CORRECTABLE[Level.SERIES]
    assert CORRECTABLE[Level.STUDY] | CORRECTABLE[Level.SERIES] >= SEVERAL


@pytest.mark.parametrize(
    ("vr", "key", "good", "bad"),
    [
        ("DA", "00080020", ["20260228", ""], ["20260229", "2026-02-28", "202602"]),
        ("TM", "00080030", ["10", "1015", "101530.123456", "235960"], ["1", "10:15", "1060", "101530."]),
        ("AS", "00101010", ["007D"], ["7D", "007d"]),
        ("SH", "00080050", ["x" * 16], ["x" * 17, "a\\b", "a\x7fb"]),
        ("LT", "00104000", ["two\r\nlines \\ more", "x" * 10240], ["x" * 10241, "a\0b"]),
        ("DS", "00101030", ["70.5", "+1E-3", 70], ["70,5", "1" * 17, "", True]),
        ("IS", "00200011", ["7", -7], ["7.0", "x", 7.5]),
        ("PN", "00100010", ["a^b^c^d^e", {"Phonetic": "x" * 64}], ["a^b^c^d^e^f", {"Kana": "x"}, 7]),
    ],
)
def test_values(vr: str, key: str, good: list[Any], bad: list[Any]) -> None:
    assert vr_of(int(key, 16)) == vr
    for value in good:
        normal_attribute(key, {"Value": [value]} if value != "" else {}, several=False)
    for value in bad:
        with pytest.raises(ValueError, match=r"."):
            normal_attribute(key, {"Value": [value]}, several=False)
