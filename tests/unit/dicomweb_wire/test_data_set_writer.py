"""DICOM JSON to bytes: what is written reads back equal, by us and by pydicom (PS3.18 F.2, PS3.5 7)."""

import io
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGBaseline8Bit

from dicomweb.wire.data_set_writer import Encoded, write_data_set
from dicomweb.wire.faults import UnwritableDataSet
from dicomweb.wire.file_writer import encapsulate, write_head
from dicomweb.wire.instance import parse_instance
from dicomweb.wire.pieces import FileRange
from dicomweb.wire.value_writers import MAX_DS_CHARACTERS, decimal_string
from dicomweb.wire.walk import MAX_DEPTH

Json = dict[str, Any]
IDENTITY: Json = {
    "00080016": {"vr": "UI", "Value": [CTImageStorage]},
    "00080018": {"vr": "UI", "Value": ["1.2.3"]},
    "0020000D": {"vr": "UI", "Value": ["1.2.3.4"]},
    "0020000E": {"vr": "UI", "Value": ["1.2.3.5"]},
}


def no_bulk(_: str) -> list[Any]:
    raise AssertionError


def file_of(dicom_json: Json, **more: Any) -> bytes:
    encoded = write_data_set(IDENTITY | dicom_json, more.pop("bulk_data", no_bulk), **more)
    written = b"".join(map(bytes, encoded.pieces))
    assert len(written) == encoded.length
    return write_head(CTImageStorage, "1.2.3", ExplicitVRLittleEndian) + written


def read_back(dicom_json: Json) -> tuple[Json, tuple[str, ...]]:
    parsed = parse_instance(file_of(dicom_json))
    return parsed.dicom_json, parsed.warnings


# Text as the standard allows it and the reader gives it back: no padding at the ends, no delimiters.
LETTERS = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\\^= ")
TEXT = st.text(LETTERS, min_size=1, max_size=12)
PLAIN = st.text("ABCabc019_.-", min_size=1, max_size=8)
UID = st.lists(st.integers(0, 10**6), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
NAME = st.fixed_dictionaries({"Alphabetic": TEXT}, optional={"Ideographic": TEXT, "Phonetic": TEXT})
REAL = st.floats(allow_nan=False, allow_infinity=False)
DECIMAL = st.builds(lambda m, e: float(f"{m}e{e}"), st.integers(-(10**9), 10**9), st.integers(-20, 20))


def several(value: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(value, min_size=1, max_size=4)


VALUES: dict[str, st.SearchStrategy[list[Any]]] = {
    **dict.fromkeys(("AE", "CS", "DA", "TM", "DT", "AS"), several(PLAIN)),
    "UI": several(UID),
    **dict.fromkeys(("SH", "LO", "UC"), several(TEXT)),
    **dict.fromkeys(("ST", "LT", "UT"), st.lists(TEXT, min_size=1, max_size=1)),
    "UR": st.lists(PLAIN, min_size=1, max_size=1),
    "PN": several(NAME),
    "DS": several(DECIMAL),
    "IS": several(st.integers(-(2**31), 2**31 - 1)),
    "US": several(st.integers(0, 2**16 - 1)),
    "SS": several(st.integers(-(2**15), 2**15 - 1)),
    "UL": several(st.integers(0, 2**32 - 1)),
    "SL": several(st.integers(-(2**31), 2**31 - 1)),
    "UV": several(st.integers(0, 2**64 - 1)),
    "SV": several(st.integers(-(2**63), 2**63 - 1)),
    "FL": several(st.floats(width=32, allow_nan=False, allow_infinity=False)),
    "FD": several(REAL),
    "AT": several(st.integers(0, 2**32 - 1).map(lambda tag: f"{tag:08X}")),
}
# Private tags, so that no dictionary has a say in what they are; each once.
TAGS = st.integers(0x1000, 0xFFFF).map(lambda element: f"0029{element:04X}")


def attributes(children: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    plain = st.one_of(
        st.fixed_dictionaries({"vr": st.just(vr), "Value": values}) for vr, values in VALUES.items()
    )
    empty = st.sampled_from([*VALUES, "SQ", "OB", "OW"]).map(lambda vr: {"vr": vr})
    binary = st.binary(min_size=1, max_size=8).map(lambda raw: _binary(raw * 2))
    items = st.lists(children, min_size=1, max_size=3)
    nested = st.fixed_dictionaries({"vr": st.just("SQ"), "Value": items})
    return st.dictionaries(TAGS, st.one_of(plain, empty, binary, nested), max_size=5)


def _binary(raw: bytes) -> Json:
    from base64 import b64encode

    return {"vr": "OB", "InlineBinary": b64encode(raw).decode()}


DATA_SETS = st.recursive(st.just({}), attributes, max_leaves=12)


@settings(max_examples=60, deadline=None)
@given(DATA_SETS)
def test_what_is_written_reads_back_equal(dicom_json: Json) -> None:
    found, warnings = read_back(dicom_json)
    expected = {"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}} | IDENTITY | dicom_json
    assert found == dict(sorted(expected.items()))
    assert set(warnings) <= {"patient-id-absent"}


@pytest.mark.filterwarnings("ignore::UserWarning")  # of values that are not as their VR has them
@settings(max_examples=40, deadline=None)
@given(DATA_SETS)
def test_pydicom_reads_the_same(dicom_json: Json) -> None:
    dataset = dcmread(io.BytesIO(file_of(dicom_json)))
    assert len(dataset) == len(IDENTITY | dicom_json) + ("SpecificCharacterSet" in dataset)
    for key, attribute in dicom_json.items():
        element = dataset[int(key, 16)]
        assert attribute["vr"] == element.VR
        if "Value" in attribute and attribute["vr"] in ("US", "SL", "FD", "UV", "LO", "UI", "CS"):
            assert [element.value] if element.VM == 1 else list(element.value) == attribute["Value"]
    assert dataset.file_meta.FileMetaInformationGroupLength > 0


@given(REAL)
def test_a_ds_fits_and_is_as_near_as_it_can_be(number: float) -> None:
    text = decimal_string(number)
    assert len(text) <= MAX_DS_CHARACTERS
    assert math.isclose(float(text), number, rel_tol=1e-8, abs_tol=0)


@given(st.integers(-(10**13), 10**13), st.integers(-9, 9))
def test_what_came_from_a_ds_goes_back_exactly(mantissa: int, exponent: int) -> None:
    sent = f"{mantissa}E{exponent}"
    if len(sent) <= MAX_DS_CHARACTERS:
        assert float(decimal_string(float(sent))) == float(sent)


@pytest.mark.parametrize(
    ("attribute", "read"),
    [
        ({"vr": "LO", "Value": ["a", None, "b"]}, ["a", None, "b"]),
        ({"vr": "DS", "Value": ["1.50", 2, None]}, [1.5, 2.0, None]),
        ({"vr": "IS", "Value": ["12", 3.0]}, [12, 3]),
        ({"vr": "SV", "Value": ["-9223372036854775808"]}, [-(2**63)]),
        ({"vr": "FD", "Value": ["NaN", "-Infinity"]}, ["NaN", "-Infinity"]),
        ({"vr": "PN", "Value": ["Doe^Jane"]}, [{"Alphabetic": "Doe^Jane"}]),
        ({"vr": "LT", "Value": ["back\\slash"]}, ["back\\slash"]),
        ({"vr": "SQ", "Value": [None]}, [{}]),
    ],
)
def test_other_forms_of_values(attribute: Json, read: list[Any]) -> None:
    assert read_back({"00291010": attribute})[0]["00291010"]["Value"] == read


def test_long_values_of_short_vrs_become_un() -> None:
    found, _ = read_back({"00283006": {"vr": "US", "Value": [7] * 33_000}})
    assert found["00283006"]["BulkDataURI"] == "bulkdata/00283006"


@pytest.mark.parametrize(
    ("dicom_json", "path"),
    [
        ({"00100020": {"vr": "LO", "Value": ["a\\b"]}}, "00100020"),
        ({"00100020": {"vr": "LO", "Value": "text"}}, "00100020"),
        ({"00100020": {"vr": "LO", "Value": [5]}}, "00100020"),
        ({"00100020": {"vr": "XX", "Value": ["a"]}}, "00100020"),
        ({"00100020": {"vr": "LO", "InlineBinary": "AAAA"}}, "00100020"),
        ({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "a=b"}]}}, "00100010"),
        ({"00080060": {"vr": "CS", "Value": ["ÄÖ"]}}, "00080060"),
        ({"00280010": {"vr": "US", "Value": [65536]}}, "00280010"),
        ({"00280010": {"vr": "US", "Value": [1.5]}}, "00280010"),
        ({"00280010": {"vr": "US", "Value": [True]}}, "00280010"),
        ({"00200013": {"vr": "IS", "Value": [1.5]}}, "00200013"),
        ({"00280030": {"vr": "DS", "Value": [True]}}, "00280030"),
        ({"00189318": {"vr": "FL", "Value": [1e300]}}, "00189318"),
        ({"00189318": {"vr": "FL", "Value": ["much"]}}, "00189318"),
        ({"00280009": {"vr": "AT", "Value": ["0018106"]}}, "00280009"),
        ({"00104000": {"vr": "LT", "Value": ["a", "b"]}}, "00104000"),
        ({"00420011": {"vr": "OB", "InlineBinary": "not base64"}}, "00420011"),
        ({"00420011": {"vr": "OB", "Value": [1]}}, "00420011"),
        ({"00420011": {"vr": "OB", "BulkDataURI": 7}}, "00420011"),
        ({"00400275": {"vr": "SQ", "BulkDataURI": "x"}}, "00400275"),
        ({"00400275": {"vr": "SQ", "Value": ["x"]}}, "00400275/1"),
        (
            {"00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": [1]}}]}},
            "00400275/1/00400009",
        ),
        ({"PatientID": {"vr": "LO"}}, ""),
        ({"00100020": None}, ""),
        ({"0010002a": {"vr": "LO"}, "0010002A": {"vr": "LO"}}, ""),
    ],
)
def test_what_cannot_be_written_is_named(dicom_json: Json, path: str) -> None:
    with pytest.raises(UnwritableDataSet) as raised:
        write_data_set(dicom_json, no_bulk)
    assert raised.value.path == path


def test_too_deep() -> None:
    nested: Json = {}
    for _ in range(MAX_DEPTH + 2):
        nested = {"00400275": {"vr": "SQ", "Value": [nested]}}
    with pytest.raises(UnwritableDataSet, match="deep"):
        write_data_set(nested, no_bulk)


@pytest.mark.parametrize("is_nested", [False, True])
def test_too_long_for_a_length(is_nested: bool) -> None:
    value: Json = {"7FE00010": {"vr": "OW", "BulkDataURI": "x"}}
    half = {"00400280": {"vr": "UT", "BulkDataURI": "x"}, "00400281": {"vr": "UT", "BulkDataURI": "x"}}
    nested: Json = {"00400275": {"vr": "SQ", "Value": [half]}}
    length = 0x8000_0000 if is_nested else 0x1_0000_0000
    piece = type("Long", (bytes,), {"__len__": lambda _: length})()
    with pytest.raises(UnwritableDataSet, match="length"):
        write_data_set(nested if is_nested else value, lambda _: [piece])


def test_groups_that_are_not_of_data_sets_are_left_out() -> None:
    extra = {"00020010": {"vr": "UI", "Value": ["1.2"]}, "00280000": {"vr": "UL", "Value": [8]}}
    assert file_of(extra) == file_of({})


def test_bulk_data_is_padded_and_not_copied() -> None:
    data = memoryview(bytearray(b"123"))
    encoded = write_data_set({"7FE00010": {"vr": "OB", "BulkDataURI": "x"}}, lambda uri: [data][: uri == "x"])
    assert any(piece is data for piece in encoded.pieces)
    assert encoded.length == 12 + 4


def test_encapsulated_frames_are_found_again() -> None:
    frames = [b"\xff\xd8\xff\x01", b"\xff\xd8\xff\x02\x03", b"\xff\xd8\xff\x04"]
    dicom_json = {"00280008": {"vr": "IS", "Value": [3]}, "7FE00010": {"vr": "OW", "BulkDataURI": "x"}}
    head = write_head(CTImageStorage, "1.2.3", JPEGBaseline8Bit)
    encoded = write_data_set(IDENTITY | dicom_json, no_bulk, encapsulate(frames))
    file = head + b"".join(map(bytes, encoded.pieces))
    parsed = parse_instance(file)
    assert parsed.pixels is not None
    found = [
        b"".join(file[at : at + n] for at, n in parsed.pixels.frame_ranges(number)) for number in (1, 2, 3)
    ]
    assert found == [frames[0], frames[1] + b"\0", frames[2]]
    assert dcmread(io.BytesIO(file))["PixelData"].VR == "OB"


def test_encapsulated_value_of_no_frame() -> None:
    assert isinstance(encapsulate([]), Encoded)
    assert encapsulate([]).length == 16


def test_a_range_of_a_file(tmp_path: Any) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(b"0123456789")
    whole = FileRange(path, 0, 10)
    assert (bytes(whole), len(whole)) == (b"0123456789", 10)
    assert bytes(whole[2:][1:4]) == b"345"
    assert bytes(whole[8:20]) == b"89"
    assert bytes(whole[5:5]) == b""
