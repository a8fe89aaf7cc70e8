"""Every file that pydicom brings: our walk and `Dataset.to_json_dict` agree, or why not is said here."""

import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

from dicomweb.wire.faults import (
    DataSetDoesNotMatch,
    IdentifierMissing,
    NotDicom,
    TransferSyntaxUnknown,
    Truncated,
    UnreadableDataSet,
)
from dicomweb.wire.instance import inflated_file, parse_instance
from dicomweb.wire.pixel_data import decode_layout, encode_layout
from server.kernel.faults import Fault

DATA = Path(get_testdata_file("CT_small.dcm", download=False)).parent
FILES = sorted([*DATA.glob("*.dcm"), *(DATA.parent / "charset_files").glob("*.dcm")])
REFUSED = {
    **dict.fromkeys(
        ("ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm", "no_meta.dcm", "rtstruct.dcm"), NotDicom
    ),
    **dict.fromkeys(("MR_truncated.dcm", "rtplan_truncated.dcm"), Truncated),
    "meta_missing_tsyntax.dcm": TransferSyntaxUnknown,
    "SC_rgb_jpeg.dcm": UnreadableDataSet,  # its meta says Explicit VR, its data set is Implicit VR
    **dict.fromkeys(  # the file meta has another SOP Instance UID than the data set
        (
            "badVR.dcm",
            "chrJapMulti.dcm",
            "chrJapMultiExplicitIR6.dcm",
            "rtdose.dcm",
            "rtdose_1frame.dcm",
            "rtdose_expb.dcm",
            "rtdose_expb_1frame.dcm",
            "rtplan.dcm",
        ),
        DataSetDoesNotMatch,
    ),
    **dict.fromkeys(
        (
            "JPEGLSNearLossless_08.dcm",
            "JPEGLSNearLossless_16.dcm",
            "SC_rgb_jls_lossy_line.dcm",
            "SC_rgb_jls_lossy_sample.dcm",
            "UN_sequence.dcm",
            "chrSQEncoding.dcm",
            "chrSQEncoding1.dcm",
            "empty_charset_LEI.dcm",
            "nested_priv_SQ.dcm",
            "no_meta_group_length.dcm",
            "priv_SQ.dcm",
        ),
        IdentifierMissing,
    ),
}


def _stripped(value):
    """Spaces at the end of a value among several are padding; an empty value is null (PS3.18 F.2.5)."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, dict):  # pydicom writes empty component groups
        return {name: group for name, group in value.items() if group} or None
    return value


def _comparable(dicom_json, other):
    """Without group lengths, padding, character set, and the private VRs that pydicom's dictionary knows."""
    plain = {}
    for key, element in dicom_json.items():
        if key.endswith("0000") or key in ("FFFCFFFC", "00080005"):
            continue
        theirs = other.get(key, element)
        if "BulkDataURI" in element or "BulkDataURI" in theirs:
            plain[key] = (str(element["vr"]), "bulk")
        elif int(key[3], 16) % 2 and "UN" in (element["vr"], theirs["vr"]):
            plain[key] = "private"
        elif element["vr"] == "SQ":
            items, others = element.get("Value", []), theirs.get("Value", [])
            assert len(items) == len(others)
            plain[key] = [_comparable(a, b) for a, b in zip(items, others, strict=True)]
        else:
            values = [_stripped(value) for value in element.get("Value", [])]
            plain[key] = (str(element["vr"]), [] if values == [None] else values, element.get("InlineBinary"))
    return plain


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_walk_agrees_with_pydicom(path):
    if path.name in REFUSED:
        with pytest.raises(Fault) as caught:
            parse_instance(path.read_bytes())
        assert type(caught.value) is REFUSED[path.name]
        return
    ours = parse_instance(path.read_bytes())
    with warnings.catch_warnings(action="ignore"):
        dataset = pydicom.dcmread(path)
        theirs = dataset.to_json_dict()
    assert _comparable(ours.dicom_json, theirs) == _comparable(theirs, ours.dicom_json)
    assert ours.sop_instance_uid == dataset.SOPInstanceUID
    assert ours.dicom_json["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert list(ours.dicom_json) == sorted(ours.dicom_json)


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.name not in REFUSED], ids=lambda path: path.name
)
def test_frames_are_where_pydicom_finds_them(path):
    ours = parse_instance(path.read_bytes())
    data = inflated_file(path.read_bytes())
    with warnings.catch_warnings(action="ignore"):
        dataset = pydicom.dcmread(path)
    if ours.pixels is None:
        assert "PixelData" not in dataset
        return
    layout = decode_layout(encode_layout(ours.pixels))
    assert layout == ours.pixels
    numbers = range(1, layout.number_of_frames + 1)
    frames = [b"".join(data[at : at + n] for at, n in layout.frame_ranges(number)) for number in numbers]
    if layout.encapsulated:
        assert frames == list(generate_frames(dataset.PixelData, number_of_frames=layout.number_of_frames))
    else:
        joined = b"".join(frames)
        assert dataset.PixelData.startswith(joined)
        padding = dataset.PixelData[len(joined) :]
        assert len(padding) == 1 or not padding.strip(b"\0")
