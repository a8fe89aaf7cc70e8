import json

import pytest

from dicomweb.wire.native_xml import native_xml
from dicomweb.worklist.cancel_request import (
    NO_REASON,
    CancelRequestInvalid,
    parse_cancel_request,
)
from dicomweb.worklist.codes import Code
from dicomweb.worklist.outside.data_set import PayloadNotTaken
from dicomweb.worklist.workitem import Reason

JSON = "application/dicom+json"
CODE = {
    "00080100": {"vr": "SH", "Value": ["110500"]},
    "00080102": {"vr": "SH", "Value": ["DCM"]},
    "00080104": {"vr": "LO", "Value": ["Doctor canceled procedure"]},
}
WITH_REASON = {
    "00741238": {"vr": "LT", "Value": ["wrong study"]},
    "0074100E": {"vr": "SQ", "Value": [CODE]},
    "0074100C": {"vr": "LO", "Value": ["Dr Who"]},
}


def parsed(payload: object, content_type: str = JSON) -> Reason:
    return parse_cancel_request(json.dumps(payload).encode(), content_type)


@pytest.mark.parametrize("payload", [[WITH_REASON], WITH_REASON])
def test_reason_is_read(payload: object) -> None:
    code = Code("DCM", "110500", "Doctor canceled procedure")
    assert parsed(payload, 'application/dicom+json; charset="utf-8"') == Reason(code, "wrong study")


@pytest.mark.parametrize("body", [b"", b" \n", b"[]", b"[{}]"])
def test_no_reason(body: bytes) -> None:
    assert parse_cancel_request(body, JSON) == NO_REASON


def test_empty_body_needs_no_media_type() -> None:
    assert parse_cancel_request(b"", "") == NO_REASON


def test_other_media_type_is_refused() -> None:
    with pytest.raises(PayloadNotTaken):
        parsed([WITH_REASON], "application/xml")


def test_reason_in_xml() -> None:
    assert parse_cancel_request(native_xml(WITH_REASON), "application/dicom+xml") == parsed([WITH_REASON])


@pytest.mark.parametrize(
    "payload",
    [
        "text",
        [1],
        [{}, {}],
        [{"0074100E": {"vr": "SQ", "Value": ["110500"]}}],
        [{"0074100E": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["110500"]}}]}}],
        [{"00741238": {"vr": "LT", "Value": [7]}}],
        [{"00741238": {"vr": "LT", "Value": ["x" * 10241]}}],
        [{"00741238": {"vr": "LT", "Value": ["a\0b"]}}],
    ],
)
def test_payload_that_is_no_action_information_is_refused(payload: object) -> None:
    with pytest.raises(CancelRequestInvalid):
        parsed(payload)


@pytest.mark.parametrize("body", [b"{", b"\xff", b'["\xff"]', b"[" * 60_000, b'{"a":' * 12_000])
def test_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(CancelRequestInvalid):
        parse_cancel_request(body, JSON)
