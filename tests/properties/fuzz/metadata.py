"""Metadata of a Store request, as JSON and as XML: a file that can be read, or a fault (PS3.18 10.5.1)."""

import json

from hypothesis import strategies as st

from dicomweb.store.built_files import build_file, identifiers
from dicomweb.store.bulk_parts import BulkPart, BulkParts, BulkType
from dicomweb.store.columns import (
    instance_columns,
    keep_indexed,
    series_columns,
    series_requests,
    study_columns,
)
from dicomweb.store.identity import demographics, overlong_identifier, patient_identifier
from dicomweb.store.instances import prepare_instance
from dicomweb.store.metadata_request import read_json, read_xml
from dicomweb.wire.faults import UnreadableDataSet
from dicomweb.wire.native_xml import native_xml
from server.kernel.faults import Fault
from server.kernel.site import Site
from tests.properties.fuzz.json_attributes import Json, data_sets
from tests.properties.fuzz.properties import Property

IDENTITY: Json = {
    "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
    "00080018": {"vr": "UI", "Value": ["1.2.3.4"]},
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "0020000E": {"vr": "UI", "Value": ["1.2.3.5"]},
}
SITE = Site()


def _built(data_set: Json) -> bytes | None:
    parts = BulkParts({"pixels": [BulkPart(BulkType("application/octet-stream", None), memoryview(b"abcd"))]})
    identifiers(data_set)
    try:
        return b"".join(bytes(piece) for piece in build_file(data_set, parts).pieces)
    except Fault:
        return None


def builds_a_file_or_says_why_not(data_set: Json) -> None:
    """What is built can be read, or is refused as any file is; what the index takes of it is plain text."""
    for each in (data_set, IDENTITY | data_set):
        file = _built(each)
        if file is None:
            continue
        try:
            instance = prepare_instance(file)
        except Fault:
            continue
        dicom_json = instance.parsed.dicom_json
        native_xml(dicom_json)
        overlong_identifier(dicom_json)
        kept = dict(dicom_json)
        keep_indexed(kept)
        rows = [study_columns(kept), series_columns(kept), instance_columns(kept), *series_requests(kept)]
        assert all("\x00" not in value for row in rows for value in row.values() if isinstance(value, str))
        patient_identifier(kept, SITE)
        demographics(kept)


def reads_json_or_says_why_not(document: bytes) -> None:
    """A metadata part of any bytes."""
    try:
        found = read_json(document)
    except Fault:
        return
    for data_set in found:
        _built(data_set)


def reads_xml_or_says_why_not(document: bytes) -> None:
    """A Native DICOM Model of any bytes."""
    (found,) = read_xml(document)
    if not isinstance(found, UnreadableDataSet):
        builds_a_file_or_says_why_not(found)


_TAGS = (
    "DicomAttribute",
    "Value",
    "Item",
    "PersonName",
    "Alphabetic",
    "FamilyName",
    "InlineBinary",
    "BulkData",
)
_attributes = st.sampled_from(
    [
        "",
        ' tag="00100010"',
        ' tag="00080018" vr="UI"',
        ' vr="PN"',
        ' vr="SQ" tag="00400275"',
        ' number="1"',
        ' number="99999999"',
        ' uri="pixels"',
        ' tag="00090010"',
        ' tag="00091001" privateCreator="A" vr="UN"',
    ]
)
_content = st.sampled_from(
    ["", "1.2.3", "QUJD", "&amp;", "&x;", "&#0;", "]]>", "<![CDATA[x]]>", "\x00", "\ufffe"]
)


def _element(inside: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    name = st.sampled_from(_TAGS)
    return st.tuples(name, _attributes, st.lists(inside, max_size=3).map("".join)).map(
        lambda made: f"<{made[0]}{made[1]}>{made[2]}</{made[0]}>"
    )


_bodies = st.lists(st.recursive(_content, _element, max_leaves=10), max_size=4).map("".join)
_heads = st.sampled_from(["", '<?xml version="1.0" encoding="UTF-16"?>', '<?xml version="1.0"?>'])
_doctypes = st.sampled_from(
    ["", '<!DOCTYPE x [<!ENTITY x "y">]>', '<!DOCTYPE x SYSTEM "file:///etc/passwd">']
)
documents = st.tuples(_heads, _doctypes, _bodies).map(
    lambda made: f"{made[0]}{made[1]}<NativeDicomModel>{made[2]}</NativeDicomModel>".encode()
)

PROPERTIES = [
    Property(
        "metadata",
        data_sets,
        builds_a_file_or_says_why_not,
        [
            {"7FE00010": None},
            {"7FE00010": []},
            {"00080018": "1.2.3"},
            {"00080018": {"vr": "UI", "Value": {"0": 1}}},
            {"00080018": {"vr": "UI", "Value": 5}},
            {"00280008": {"vr": "IS", "Value": [{}]}, "7FE00010": {"vr": "OB", "BulkDataURI": "pixels"}},
            {"00420011": 1},
            {"00100024": {"vr": "AE", "Value": ["a text for items"]}},
            {"00400275": {"vr": "LO", "Value": ["a text for items"]}},
        ],
    ),
    Property(
        "a metadata part of JSON",
        st.binary(max_size=200)
        | st.lists(data_sets, max_size=3).map(lambda found: json.dumps(found).encode()),
        reads_json_or_says_why_not,
        [b"[" * 3000, b"{}", b"[[]]", b"[null]", b'{"00080018":1}'],
    ),
    Property(
        "a metadata part of XML",
        documents | st.binary(max_size=100),
        reads_xml_or_says_why_not,
        [b"<NativeDicomModel/>", b"<a>" * 100000],
    ),
]
