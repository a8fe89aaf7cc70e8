"""What the index keeps of a data set, however large that is."""

import random
import string

import orjson

from dicomweb.attributes import DicomJson
from dicomweb.store.columns import MAX_KEY_CHARACTERS, MAX_REQUESTS, keep_indexed, series_requests
from dicomweb.store.prepare import prepare_part
from dicomweb.store.receive import MemoryBudget, ReceivedPart
from tests.conformance.ps3_18.kit import ct_file

TEXT = "".join(random.Random(1).choices(string.ascii_letters, k=60_000))


def requests(count: int, text: str = "x") -> DicomJson:
    item = {"00400009": {"vr": "SH", "Value": [text]}, "00401001": {"vr": "SH", "Value": [text]}}
    return {"00400275": {"vr": "SQ", "Value": [item] * count}}


def kept(dicom_json: DicomJson) -> DicomJson:
    keep_indexed(dicom_json)
    return dicom_json


def test_long_attributes_are_left_out_when_they_are_many_bytes() -> None:
    small: DicomJson = {"00080060": {"vr": "CS", "Value": ["CT"]}, "00400275": {"vr": "SQ", "Value": [{}]}}
    assert kept(small | {"00081115": {"vr": "SQ"}}) == small
    assert kept(small | requests(2000)) == {"00080060": small["00080060"]}
    assert kept(small | {"00104000": {"vr": "LT", "Value": ["a" * 10_000]}}).keys() >= {"00104000"}


def test_requests_are_bounded_in_number_and_length() -> None:
    found = series_requests(requests(MAX_REQUESTS + 1, TEXT))
    assert len(found) == MAX_REQUESTS
    assert {len(value) for row in found for value in row.values()} == {MAX_KEY_CHARACTERS}


async def test_a_prepared_part_keeps_only_what_the_index_needs() -> None:
    part = ReceivedPart(None, MemoryBudget())  # type: ignore[arg-type]  # stays in memory
    await part.write(ct_file(ImageComments="x" * 5000))
    received = prepare_part(part, None)
    assert "00204000" not in orjson.dumps(received.parsed.dicom_json).decode()
    assert received.parsed.dicom_json["00100020"]["Value"] == ["P1"]
