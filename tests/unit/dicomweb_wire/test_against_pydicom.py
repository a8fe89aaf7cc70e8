"""Every file that pydicom brings: our walk and `Dataset.to_json_dict` agree, or why not is said here."""

import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

from dicomweb.wire.data_set import read_data_set
from dicomweb.wire.faults import (
    DataSetDoesNotMatch,
    IdentifierMissing,
    IdentityFault,
    NotDicom,
    TransferSyntaxUnknown,
    Truncated,
    UnreadableDataSet,
)
from dicomweb.wire.file_meta import read_file_meta
from dicomweb.wire.instance import SYNTAXES, inflated_file, parse_instance
from dicomweb.wire.pixel_data import decode_layout, encode_layout
from dicomweb.wire.walk import EXPLICIT_LITTLE, Level, Walk
from server.kernel.faults import Fault
from tests.unit.dicomweb_wire.pydicom_json import comparable

DATA = Path(get_testdata_file("CT_small.dcm", download=False)).parents[1]


def _is_dicom(path: Path) -> bool:
    """By its name, as those that are no DICOM files by their head, or by its head."""
    return path.suffix == ".dcm" or (path.is_file() and path.read_bytes()[128:132] == b"DICM")


FILES = sorted(filter(_is_dicom, DATA.rglob("*")))
# Neither is of a study: directories, and color palettes (PS3.3 A.58).
DIRECTORIES = {path.name for path in FILES if path.name.startswith("DICOMDIR")}
PALETTES = {path.name for path in FILES if path.parent.name == "palettes"}
UNREADABLE_BY_PYDICOM = {"badVR.dcm"}  # it makes no JSON of it
REFUSED = {
    **dict.fromkeys(
        ("ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm", "no_meta.dcm", "rtstruct.dcm"), NotDicom
    ),
    **dict.fromkeys(("MR_truncated.dcm", "rtplan_truncated.dcm"), Truncated),
    "DICOMDIR-nooffset": Truncated,  # its last record is longer than the sequence
    "winter.dcm": UnreadableDataSet,  # it has SOP Instance UID twice
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
            *DIRECTORIES - {"DICOMDIR-nooffset"},
            *PALETTES - {"winter.dcm"},
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


def _walked(data: bytes):
    """The data set, whatever identifies it."""
    meta, whole = read_file_meta(data), inflated_file(data)
    level = Level(Walk(whole), SYNTAXES.get(meta.transfer_syntax_uid, EXPLICIT_LITTLE), len(whole))
    read_data_set(level, meta.data_set_offset)
    return level.out


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_walk_agrees_with_pydicom(path):
    data = path.read_bytes()
    refused = REFUSED.get(path.name)
    if refused is not None:
        with pytest.raises(Fault) as caught:
            parse_instance(data)
        assert type(caught.value) is refused
        if not issubclass(refused, IdentityFault) or path.name in UNREADABLE_BY_PYDICOM:
            return
    ours = _walked(data)
    with warnings.catch_warnings(action="ignore"):
        theirs = pydicom.dcmread(path).to_json_dict()
    assert comparable(ours, theirs) == comparable(theirs, ours)
    if refused is None:
        parsed = parse_instance(data)
        assert parsed.sop_instance_uid == theirs["00080018"]["Value"][0]
        assert parsed.dicom_json["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
        assert list(parsed.dicom_json) == sorted(parsed.dicom_json)


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
