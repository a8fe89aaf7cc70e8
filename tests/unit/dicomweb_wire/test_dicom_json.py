import orjson
import pytest

from dicomweb.wire.dicom_json import (
    absolute_bulk_uris,
    data_set,
    element,
    items_of,
    sequence,
    text_of,
    value_of,
    values_of,
)
from dicomweb.wire.instance import parse_instance
from tests.unit.dicomweb_wire.files import explicit, file


def test_elements_become_a_data_set_in_order():
    written = data_set(
        element("FailureReason", 0xC000),
        element("PatientName", "A^B=C"),
        element("AccessionNumber"),
        sequence("FailedSOPSequence", [data_set(element("ReferencedSOPInstanceUID", "1.2"))]),
        element("FailedAttributesSequence"),
        element("SelectorAttribute", "PatientID"),
    )
    assert written == {
        "00080050": {"vr": "SH"},
        "00081197": {"vr": "US", "Value": [0xC000]},
        "00081198": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B", "Ideographic": "C"}]},
        "00720026": {"vr": "AT", "Value": ["00100020"]},
        "00741048": {"vr": "SQ"},
    }
    assert list(written) == sorted(written)


def test_an_unknown_keyword_is_a_mistake_of_ours():
    with pytest.raises(KeyError):
        element("NoSuchKeyword")


def test_values_are_read():
    dicom_json = data_set(
        element("PatientName", "A^B==P"), element("ImageType", "ORIGINAL", "PRIMARY"), element("Rows", 512)
    )
    assert text_of(dicom_json, "PatientName") == "A^B==P"
    assert text_of(dicom_json, "Rows") == "512"
    assert text_of(dicom_json, "PatientID") == ""
    assert value_of(dicom_json, "ImageType") == "ORIGINAL"
    assert value_of(dicom_json, "PatientID") is None
    assert values_of(dicom_json, "ImageType") == ["ORIGINAL", "PRIMARY"]
    assert items_of(dicom_json, "ReferencedSOPSequence") == []


def test_bulk_uris_become_absolute_and_text_does_not():
    sly = b'"BulkDataURI":"bulkdata/x'
    parsed = parse_instance(file(explicit(0x00420010, "ST", sly), explicit(0x00420011, "OB", bytes(2000))))
    serialized = orjson.dumps(parsed.dicom_json)
    answer = orjson.loads(absolute_bulk_uris(serialized, 'https://x/studies/1/"/'))
    assert answer["00420011"]["BulkDataURI"] == 'https://x/studies/1/"/bulkdata/00420011'
    assert answer["00420010"]["Value"] == [sly.decode()]
