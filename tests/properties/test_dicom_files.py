"""Any cut or change of a DICOM file is read or refused with a `Fault`, never anything else."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from dicomweb.wire.instance import ParsedInstance, parse_instance
from server.kernel.faults import Fault

NAMES = (
    "CT_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "test-SR.dcm",
    "image_dfl.dcm",
    "UN_sequence.dcm",
    "reportsi.dcm",
)
HEAD_BYTES = 16384
FILES = {name: Path(get_testdata_file(name, download=False)).read_bytes() for name in NAMES}
INTERESTING = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\xfe\xff\x00\xe0",
    b"\xfe\xff\xdd\xe0",
    b"SQ",
    b"UN",
    b"OB",
    b"\x1b",
)


def _read(data: bytes) -> ParsedInstance | None:
    try:
        parsed = parse_instance(data)
    except Fault:
        return None
    orjson.dumps(parsed.dicom_json)
    for bulk in parsed.bulk:
        assert bulk.offset >= 0
        assert bulk.length >= 0
    return parsed


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("image_dfl.dcm", "UN_sequence.dcm")])
def test_no_cut_of_a_file_is_taken_for_a_whole_one(name):
    """At each of many places: refused, unless the cut lies between two top-level attributes."""
    data = FILES[name]
    whole = parse_instance(data)
    for at in range(whole.data_set_offset, len(data), max(1, len(data) // 997)):
        parsed = _read(data[:at])
        assert parsed is None or len(parsed.dicom_json) < len(whole.dicom_json)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    changes=st.lists(
        st.tuples(
            st.integers(128, HEAD_BYTES),
            st.one_of(st.sampled_from(INTERESTING), st.binary(min_size=1, max_size=4)),
        ),
        min_size=1,
        max_size=6,
    ),
    cut=st.one_of(st.none(), st.integers(0, HEAD_BYTES)),
)
def test_a_changed_file_is_read_or_refused(name, changes, cut):
    data = bytearray(FILES[name])
    for place, raw in changes:
        at = place % len(data)
        data[at : at + len(raw)] = raw
    _read(bytes(data[:cut]))


@settings(max_examples=100, deadline=None)
@given(tail=st.binary(max_size=200))
def test_any_bytes_behind_the_meta_are_read_or_refused(tail):
    for name in ("CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm"):
        head = FILES[name][: FILES[name].index(b"\x08\0", 200) if name != "image_dfl.dcm" else 334]
        _read(head + tail)
