"""The Native DICOM Model: written, read, and refused (PS3.19 A.1)."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from pydicom.data import get_testdata_file

from dicomweb.wire.faults import TooComplex, UnreadableXml
from dicomweb.wire.instance import parse_instance
from dicomweb.wire.native_xml import NAMESPACE, native_xml, write_native_xml
from dicomweb.wire.native_xml_reader import read_native_xml
from dicomweb.wire.walk import MAX_DEPTH

ACME = {"vr": "LO", "Value": ["ACME"]}
DATA_SET = {
    "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
    "00080008": {"vr": "CS", "Value": ["MPG", None, "XR3"]},
    "00081030": {"vr": "LO", "Value": [" a & <b> ]]> \r\n\t\u00e9 "]},
    "00100010": {
        "vr": "PN",
        "Value": [{"Alphabetic": "Doe^Jane^^Dr^Jr^more", "Ideographic": "山田"}, None, {"Phonetic": "^B^"}],
    },
    "00280009": {"vr": "AT", "Value": ["00181063", "0018106A"]},
    "00290010": ACME,
    "00291001": {"vr": "OB", "InlineBinary": "AAEC"},
    "00400275": {"vr": "SQ", "Value": [{"00090010": ACME, "00091005": {"vr": "US", "Value": [1, 2]}}, {}]},
    "00400555": {"vr": "SQ"},
    "00700022": {"vr": "FL", "Value": [0.1, "NaN", "-Infinity"]},
    "30060050": {"vr": "DS", "Value": [1.5, -3, "1.00000000000000000001", None]},
    "7FE00010": {"vr": "OW", "BulkDataURI": "http://pacs.example/a?b=1&c=2"},
}


def document(content: str) -> bytes:
    return f'<NativeDicomModel xmlns="{NAMESPACE}">{content}</NativeDicomModel>'.encode()


def test_what_is_written_is_read_again() -> None:
    assert read_native_xml(native_xml(DATA_SET)) == DATA_SET
    assert b"".join(write_native_xml(DATA_SET)) == native_xml(DATA_SET)


def test_the_standards_example_of_an_empty_value() -> None:
    written = native_xml({"00080008": DATA_SET["00080008"]}).decode()
    assert '<Value number="1">MPG</Value><Value number="2"></Value><Value number="3">XR3</Value>' in written
    assert 'tag="00080008" vr="CS" keyword="ImageType"' in written


def test_names_are_split_into_components() -> None:
    root = ElementTree.fromstring(native_xml({"00100010": DATA_SET["00100010"]}))
    found = [
        (each.tag.rpartition("}")[2], each.text) for each in root.iter() if each.text and each.text.strip()
    ]
    assert found == [
        ("FamilyName", "Doe"),
        ("GivenName", "Jane"),
        ("NamePrefix", "Dr"),
        ("NameSuffix", "Jr^more"),
        ("FamilyName", "山田"),
        ("GivenName", "B"),
    ]


def test_private_attributes_name_their_creator_and_not_their_block() -> None:
    written = native_xml({"00290011": ACME, "00291102": {"vr": "LO", "Value": ["x"]}}).decode()
    assert 'tag="00290002" vr="LO" privateCreator="ACME"' in written
    assert "00290011" not in written
    assert list(read_native_xml(written.encode())) == ["00290010", "00291002"]


def test_a_second_block_of_a_creator_and_a_block_without_one_are_kept() -> None:
    value = {"vr": "LO", "Value": ["x"]}
    twice = {"00290010": ACME, "00290011": ACME, "00291002": value, "00291102": value, "00292002": value}
    assert read_native_xml(native_xml(twice)) == twice


def test_blocks_are_given_out_around_those_taken() -> None:
    read = read_native_xml(
        document(
            '<DicomAttribute tag="00290010" vr="LO"><Value number="1">OTHER</Value></DicomAttribute>'
            '<DicomAttribute tag="00291101" vr="LO"><Value number="1">x</Value></DicomAttribute>'
            '<DicomAttribute tag="00290001" vr="US" privateCreator="ACME"><Value number="1">7</Value>'
            '</DicomAttribute><DicomAttribute tag="00290003" vr="US" privateCreator="OTHER"/>'
        )
    )
    assert list(read) == ["00290010", "00290012", "00291003", "00291101", "00291201"]


def test_characters_that_xml_does_not_have_are_replaced() -> None:
    written = native_xml({"00104000": {"vr": "LT", "Value": ["a\x0cb\x1bc\ufffe"]}})
    assert read_native_xml(written)["00104000"]["Value"] == ["a\ufffdb\ufffdc\ufffd"]


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "test-SR.dcm", "reportsi.dcm"])
def test_objects_of_others(name: str) -> None:
    read = parse_instance(Path(get_testdata_file(name, download=False)).read_bytes()).dicom_json
    assert read_native_xml(native_xml(read)) == read


@pytest.mark.parametrize(
    "vr_and_value",
    [
        ("LO", None, None),
        ("US", " 12 ", 12),
        ("SS", "-32768", -32768),
        ("UV", "18446744073709551615", 18446744073709551615),
        ("FD", "INF", "Infinity"),
        ("FL", "1e-3", 0.001),
        ("DS", "0.5", 0.5),
        ("DS", "abc", "abc"),
        ("IS", "12", 12),
        ("AT", "0018106a", "0018106A"),
    ],
)
def test_values_by_vr(vr_and_value: tuple[str, str | None, object]) -> None:
    vr, text, value = vr_and_value
    content = (
        f'<DicomAttribute tag="00091001" vr="{vr}"><Value number="1">{text or ""}</Value></DicomAttribute>'
    )
    assert read_native_xml(document(content))["00091001"]["Value"] == [value]


@pytest.mark.parametrize("namespace", ["", f' xmlns="{NAMESPACE}"'])
def test_with_and_without_namespace_vr_and_some_values(namespace: str) -> None:
    content = '<DicomAttribute tag="00080008"><Value number="3">C</Value></DicomAttribute>'
    read = read_native_xml(f"<NativeDicomModel{namespace}>{content}</NativeDicomModel>".encode())
    assert read == {"00080008": {"vr": "CS", "Value": [None, None, "C"]}}


def test_bulk_data_by_uuid_and_group_lengths() -> None:
    read = read_native_xml(
        document(
            '<DicomAttribute tag="00080000" vr="UL"><Value number="1">4</Value></DicomAttribute>'
            '<DicomAttribute tag="7FE00010" vr="OW"><BulkData uuid="1-2"/></DicomAttribute>'
        )
    )
    assert read == {"7FE00010": {"vr": "OW", "BulkDataURI": "1-2"}}


def attribute(tag: str, vr: str, content: str = "") -> bytes:
    return document(f'<DicomAttribute tag="{tag}" vr="{vr}">{content}</DicomAttribute>')


def value(text: str, number: int = 1) -> str:
    return f'<Value number="{number}">{text}</Value>'


LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
NAMED = f'<DicomAttribute tag="00100020" vr="LO">{value("x")}</DicomAttribute>'
REFUSED = {
    "empty": b"",
    "not xml": b"\0\1\2",
    "cut off": native_xml(DATA_SET)[:-9],
    "another document": b"<html/>",
    "another namespace": b'<NativeDicomModel xmlns="urn:other"/>',
    "entities that grow": f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]>'.encode() + document("&l9;"),
    "an external entity": b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + document("&x;"),
    "an external subset": b'<!DOCTYPE NativeDicomModel SYSTEM "http://127.0.0.1/a.dtd">' + document(""),
    "an unknown entity": document("&x;"),
    "an encoding that is none": b'<?xml version="1.0" encoding="hex"?>' + document(""),
    "text between": document("text"),
    "an attribute in an attribute": attribute("00100020", "LO", NAMED),
    "no tag": document('<DicomAttribute vr="LO"/>'),
    "a tag in lower case": attribute("0010002a", "LO"),
    "no such VR": attribute("00100020", "ZZ"),
    "twice": document(NAMED * 2),
    "a private creator of a standard attribute": document(
        '<DicomAttribute tag="00100020" privateCreator="A"/>'
    ),
    "numbers that go back": attribute("00080008", "CS", value("a", 2) + value("b", 1)),
    "values of a name": attribute("00100010", "PN", value("a")),
    "values and bulk data": attribute("00080008", "CS", value("a") + '<BulkData uri="b"/>'),
    "no number": attribute("00280010", "US", value("a")),
    "a number too large": attribute("00280010", "US", value("65536")),
    "no base64": attribute("7FE00010", "OW", "<InlineBinary>A</InlineBinary>"),
    "bulk data without a place": attribute("7FE00010", "OW", "<BulkData/>"),
}


@pytest.mark.parametrize("bad", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_native_dicom_model_is_refused(bad: bytes) -> None:
    with pytest.raises(UnreadableXml):
        read_native_xml(bad)


def nested(depth: int) -> bytes:
    begin, end = '<DicomAttribute tag="00400275" vr="SQ"><Item number="1">', "</Item></DicomAttribute>"
    return document(begin * depth + end * depth)


def test_depth_has_a_limit() -> None:
    assert read_native_xml(nested(MAX_DEPTH))
    with pytest.raises(TooComplex):
        read_native_xml(nested(MAX_DEPTH + 1))


def test_a_number_cannot_make_many_values() -> None:
    with pytest.raises(TooComplex):
        read_native_xml(attribute("00080008", "CS", value("a", 9_999_999)))


def test_creators_have_240_blocks() -> None:
    creators = "".join(f'<DicomAttribute tag="00090001" vr="LO" privateCreator="{n}"/>' for n in range(241))
    with pytest.raises(UnreadableXml):
        read_native_xml(document(creators))
