import mmap
import re
import zlib
from pathlib import Path
from struct import pack

import orjson
import pytest

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.wire import deflate, walk
from dicomweb.wire.data_set import read_data_set
from dicomweb.wire.faults import (
    DataSetDoesNotMatch,
    IdentifierMissing,
    NotDicom,
    TooComplex,
    TransferSyntaxUnknown,
    Truncated,
    UnreadableDataSet,
)
from dicomweb.wire.file_meta import read_file_meta
from dicomweb.wire.instance import inflated_file, is_uid, parse_instance
from dicomweb.wire.walk import EXPLICIT_LITTLE, MAX_VALUE_UNITS, Level, Walk
from tests.unit.dicomweb_wire.files import (
    CT,
    ITEM_END,
    SEQUENCE_END,
    SERIES,
    SOP,
    STUDY,
    UNDEFINED,
    explicit,
    file,
    identified,
    implicit,
    item,
    meta,
)

PIXELS = (
    explicit(0x00280002, "US", pack("<H", 1)),
    explicit(0x00280010, "US", pack("<H", 40)),
    explicit(0x00280011, "US", pack("<H", 50)),
    explicit(0x00280100, "US", pack("<H", 16)),
    explicit(0x7FE00010, "OW", bytes(4000)),
)


def test_an_instance_tells_its_identity_and_json():
    data = file(explicit(0x00100010, "PN", b"Doe^Jo"), *PIXELS)
    parsed = parse_instance(data)
    assert (parsed.study_instance_uid, parsed.series_instance_uid) == (STUDY, SERIES)
    assert (parsed.sop_instance_uid, parsed.sop_class_uid) == (SOP, CT)
    assert parsed.transfer_syntax_uid == ts.ExplicitVRLittleEndian
    assert parsed.dicom_json["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jo"}]}
    assert parsed.dicom_json["7FE00010"] == {"vr": "OW", "BulkDataURI": "bulkdata/7FE00010"}
    (bulk,) = parsed.bulk
    assert (bulk.path, data[bulk.offset : bulk.offset + bulk.length]) == ("7FE00010", bytes(4000))
    assert data[parsed.data_set_offset :].startswith(b"\x08\0\x16\0UI")
    assert parsed.warnings == ()
    assert list(parsed.dicom_json) == sorted(parsed.dicom_json)


@pytest.mark.parametrize("wrap", [bytearray, memoryview, lambda data: memoryview(b"x" + data)[1:]])
def test_every_kind_of_buffer_reads_the_same(wrap):
    data = file(*PIXELS)
    assert parse_instance(wrap(data)) == parse_instance(data)


def test_a_mapped_file_reads_the_same(tmp_path):
    data = file(explicit(0x00080070, "LO", b"maker "), *PIXELS)
    path = tmp_path / "file"
    path.write_bytes(data)
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert parse_instance(mapped) == parse_instance(data)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        pytest.param(b"", NotDicom, id="empty"),
        pytest.param(b"hello", NotDicom, id="text"),
        pytest.param(bytes(132), NotDicom, id="no prefix"),
        pytest.param(bytes(128) + b"DICM", TransferSyntaxUnknown, id="prefix only"),
        pytest.param(meta("1.2.3.4"), TransferSyntaxUnknown, id="foreign transfer syntax"),
        pytest.param(meta(ts.XMLEncoding), TransferSyntaxUnknown, id="not a file's transfer syntax"),
        pytest.param(meta(ts.ExplicitVRLittleEndian), IdentifierMissing, id="no data set"),
        pytest.param(meta(ts.ExplicitVRLittleEndian)[:-3], Truncated, id="cut within the meta"),
        pytest.param(file(*PIXELS)[:-1], Truncated, id="cut within the pixels"),
        pytest.param(file(*PIXELS) + b"\x10\0", Truncated, id="cut within a tag"),
        pytest.param(
            file() + explicit(0x7FE00010, "OB", b"x", UNDEFINED - 1), Truncated, id="4 GB of 1 byte"
        ),
        pytest.param(
            file() + explicit(0x00409999, "SH", b"abc", 4), Truncated, id="short value over the end"
        ),
        pytest.param(
            file() + explicit(0x7FE00010, "OB", item() + item(b"ab", 4), UNDEFINED),
            Truncated,
            id="fragment over the end",
        ),
        pytest.param(file() + explicit(0x00409999, "  "), UnreadableDataSet, id="no VR"),
        pytest.param(file() + implicit(0xFFFEE00D), UnreadableDataSet, id="stray delimiter"),
        pytest.param(
            file() + explicit(0x00400275, "SQ", b"\x10\0\x10\0PN\0\0"), UnreadableDataSet, id="no item"
        ),
        pytest.param(
            file() + explicit(0x00400275, "SQ", item(b"", 8)), Truncated, id="item over its sequence"
        ),
        pytest.param(file() + explicit(0x00400275, "SQ", item(), UNDEFINED), Truncated, id="open sequence"),
        pytest.param(
            file() + explicit(0x00400275, "SQ", item(b"", UNDEFINED) + SEQUENCE_END, UNDEFINED),
            UnreadableDataSet,
            id="open item",
        ),
        pytest.param(
            file() + explicit(0x00420011, "OB", item(b"ab"), UNDEFINED), UnreadableDataSet, id="open OB"
        ),
        pytest.param(
            file(explicit(0x00100010, "PN", b"A "), explicit(0x00100010, "PN", b"B ")),
            UnreadableDataSet,
            id="an attribute twice",
        ),
    ],
)
def test_bytes_that_are_no_file_are_refused(data, fault):
    with pytest.raises(fault) as caught:
        parse_instance(data)
    assert type(caught.value) is fault


def test_each_missing_identifier_is_named():
    elements = (
        explicit(0x00080016, "UI"),
        explicit(0x00080018, "UI"),
        explicit(0x00100020, "LO"),
        explicit(0x0020000D, "UI"),
        explicit(0x0020000E, "UI", b"../etc"),
    )
    with pytest.raises(IdentifierMissing) as caught:
        parse_instance(file(*elements, identity=False))
    expected = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
    assert caught.value.failed_attributes == expected
    assert "SeriesInstanceUID is not a UID" in str(caught.value)
    assert "etc" not in str(caught.value)


@pytest.mark.parametrize(
    ("sop", "sop_class", "failed"),
    [
        ("1.2.9", CT, ("SOPInstanceUID",)),
        (SOP, "1.2.8", ("SOPClassUID",)),
        ("1.2.9", "1.2.8", ("SOPInstanceUID", "SOPClassUID")),
    ],
)
def test_meta_and_data_set_that_disagree_are_refused(sop, sop_class, failed):
    data = meta(ts.ExplicitVRLittleEndian, sop=sop, sop_class=sop_class) + identified()
    with pytest.raises(DataSetDoesNotMatch) as caught:
        parse_instance(data)
    assert caught.value.failed_attributes == failed


@pytest.mark.parametrize(
    ("text", "legal"),
    [
        ("1.2.840", True),
        ("1", True),
        ("1.02", True),  # old devices
        ("1" * 64, True),
        ("1" * 65, False),
        ("", False),
        ("1..2", False),
        (".1", False),
        ("1.", False),
        ("1.a", False),
        ("1.2\n", False),
        ("1.٣", False),
        ("../../x", False),
    ],
)
def test_what_may_be_a_uid(text, legal):
    assert is_uid(text) is legal


def test_trailing_padding_and_zeros_are_let_pass():
    data = file(*PIXELS) + explicit(0xFFFCFFFC, "OB", bytes(6))
    assert parse_instance(data).warnings == ()
    parsed = parse_instance(data + bytes(13))
    assert "FFFCFFFC" not in parsed.dicom_json
    assert "zeros-after-data-set 00000000" in parsed.warnings
    with pytest.raises(UnreadableDataSet):
        parse_instance(data + bytes(13) + b"x")


def test_group_lengths_are_left_out_and_the_character_set_is_said():
    parsed = parse_instance(
        file(explicit(0x00080000, "UL", pack("<L", 4)), explicit(0x00080001, "UL", bytes(4)))
    )
    assert "00080000" not in parsed.dicom_json
    assert next(iter(parsed.dicom_json)) == "00080001"
    assert parsed.dicom_json["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}


def test_a_preamble_that_is_a_program_is_flagged():
    data = file()
    assert "preamble-not-empty" in parse_instance(b"MZ" + data[2:]).warnings
    assert parse_instance(b"II*\0" + data[4:]).warnings == ()


def test_odd_things_are_flagged_not_refused():
    data = file(
        explicit(0x00280010, "US", b"abc"),
        explicit(0x00291010, "ZZ") + bytes(4),
        explicit(0x00420010, "ST", b"caf\xe9"),
    )
    parsed = parse_instance(data)
    assert parsed.dicom_json["00280010"] == {"vr": "UN", "InlineBinary": "YWJj"}
    assert parsed.dicom_json["00291010"] == {"vr": "UN"}
    assert parsed.dicom_json["00420010"] == {"vr": "ST", "Value": ["café"]}
    assert parsed.warnings == (
        "value-length 00280010",
        "unknown-vr 00291010",
        "undecodable-text 00420010",
    )


def test_a_sequence_has_items_of_every_form():
    inner = explicit(0x00080100, "SH", b"A1")
    items = item(inner) + item(inner + ITEM_END, UNDEFINED) + item() + item(ITEM_END, UNDEFINED)
    for value, length in ((items, None), (items + SEQUENCE_END, UNDEFINED)):
        parsed = parse_instance(file(explicit(0x0040A730, "SQ", value, length)))
        code = {"00080100": {"vr": "SH", "Value": ["A1"]}}
        assert parsed.dicom_json["0040A730"] == {"vr": "SQ", "Value": [code, code, {}, {}]}


def test_bulk_data_in_an_item_has_a_path():
    inner = explicit(0x54001010, "OW", bytes(2048))
    parsed = parse_instance(file(explicit(0x54000100, "SQ", item() + item(inner))))
    assert [bulk.path for bulk in parsed.bulk] == ["54000100/2/54001010"]


def test_unknown_values_are_read_when_the_attribute_is_known():
    code = implicit(0x00080100, b"A1")
    data = file(
        explicit(0x00081030, "UN", b"brain "),
        explicit(0x00090010, "UN", b"MAKER "),
        explicit(0x00091001, "UN", b"12"),
        explicit(0x00091002, "UN", item(code) + SEQUENCE_END, UNDEFINED),
        explicit(0x00081140, "UN", item(code)),
        explicit(0x00081111, "UN", b"opaque"),
    )
    dicom_json = parse_instance(data).dicom_json
    code_item = {"00080100": {"vr": "SH", "Value": ["A1"]}}
    assert dicom_json["00081030"] == {"vr": "LO", "Value": ["brain"]}
    assert dicom_json["00090010"] == {"vr": "LO", "Value": ["MAKER"]}
    assert dicom_json["00091001"] == {"vr": "UN", "InlineBinary": "MTI="}
    assert dicom_json["00091002"] == {"vr": "SQ", "Value": [code_item]}
    assert dicom_json["00081140"] == {"vr": "SQ", "Value": [code_item]}
    assert dicom_json["00081111"] == {"vr": "UN", "InlineBinary": "b3BhcXVl"}


def test_unknown_bytes_that_only_look_like_items_leave_no_bulk_data():
    inner = implicit(0x54001010, bytes(1100))
    parsed = parse_instance(file(explicit(0x00081111, "UN", item(inner) + b"garbage!")))
    assert [bulk.path for bulk in parsed.bulk] == ["00081111"]
    assert "unknown-vr 00081111" in parsed.warnings


def test_implicit_vr_resolves_what_the_dictionary_leaves_open():
    data = file(
        implicit(0x00280103, pack("<H", 1)),
        implicit(0x00280106, pack("<h", -5)),
        implicit(
            0x00283010, item(implicit(0x00283002, pack("<hhh", 1, 0, 16)) + implicit(0x00283006, b"\2\0"))
        ),
        implicit(0x60003000, bytes(2)),
        implicit(0x00090010, b"MAKER "),
        implicit(0x00091001, b"12"),
        syntax=ts.ImplicitVRLittleEndian,
    )
    dicom_json = parse_instance(data).dicom_json
    assert dicom_json["00280106"] == {"vr": "SS", "Value": [-5]}
    lut = dicom_json["00283010"]["Value"][0]
    assert lut["00283002"] == {"vr": "SS", "Value": [1, 0, 16]}
    assert lut["00283006"] == {"vr": "US", "Value": [2]}
    assert dicom_json["60003000"]["vr"] == "OW"
    assert dicom_json["00090010"]["vr"] == "LO"
    assert dicom_json["00091001"]["vr"] == "UN"


def test_big_endian_words_become_little_endian():
    uids = ((0x00080016, CT), (0x00080018, SOP), (0x0020000D, STUDY), (0x0020000E, SERIES))
    data = b"".join(explicit(tag, "UI", uid.encode(), order=">") for tag, uid in uids)
    data += explicit(0x00280010, "US", b"\x01\x00", order=">")
    data += explicit(0x00280110, "UN", b"\1\0", order=">")
    data += explicit(0x00281201, "OW", b"\1\2\3\4", order=">")
    parsed = parse_instance(meta(ts.ExplicitVRBigEndian) + data)
    assert parsed.dicom_json["00280110"]["vr"] == "UN"
    assert parsed.dicom_json["00280010"]["Value"] == [256]
    assert parsed.dicom_json["00281201"]["InlineBinary"] == "AgEEAw=="


def _deflated(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return meta(ts.DeflatedExplicitVRLittleEndian) + deflater.compress(data) + deflater.flush()


def test_offsets_of_a_deflated_file_count_in_the_inflated_one():
    data = _deflated(identified(*PIXELS))
    parsed = parse_instance(data)
    (bulk,) = parsed.bulk
    inflated = inflated_file(data)
    assert inflated[parsed.data_set_offset :] == identified(*PIXELS)
    assert inflated[bulk.offset :][: bulk.length] == bytes(4000)
    assert inflated_file(file()) == file()
    assert parse_instance(data + b"\0") == parsed
    for spoilt, fault in ((data[:-2], Truncated), (data + b"xx", UnreadableDataSet)):
        with pytest.raises(fault):
            parse_instance(spoilt)
    with pytest.raises(UnreadableDataSet):
        parse_instance(meta(ts.DeflatedExplicitVRLittleEndian) + b"\xff" * 40)


def test_a_deflate_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(deflate, "FREE_INFLATED_BYTES", 1 << 20)
    bomb = _deflated(identified(explicit(0x7FE00010, "OB", bytes(4 << 20))))
    with pytest.raises(TooComplex):
        parse_instance(bomb)


def _nested(depth: int) -> bytes:
    head = explicit(0x0040A730, "SQ", b"", UNDEFINED) + item(b"", UNDEFINED)
    return head * depth + (ITEM_END + SEQUENCE_END) * depth


@pytest.mark.parametrize("depth", [33, 3000, 100_000])
def test_deep_nesting_is_refused(depth):
    with pytest.raises(TooComplex):
        parse_instance(file() + _nested(depth))
    in_unknown = implicit(0x0040A730, b"", UNDEFINED) + item(b"", UNDEFINED)
    with pytest.raises(TooComplex):
        parse_instance(
            file() + explicit(0x00511001, "UN", b"", UNDEFINED) + item(in_unknown * depth, UNDEFINED)
        )


def test_nesting_up_to_the_limit_is_read():
    (sequence,) = (
        each
        for each in parse_instance(file() + _nested(walk.MAX_DEPTH)).dicom_json.values()
        if each["vr"] == "SQ"
    )
    depth = 1
    while inner := [each for each in sequence["Value"][0].values() if each["vr"] == "SQ"]:
        (sequence,), depth = inner, depth + 1
    assert depth == walk.MAX_DEPTH


@pytest.mark.timeout(60)  # where a walk is quadratic it takes hours
def test_a_hundred_thousand_empty_items_are_read():
    data = file(explicit(0x0040A730, "SQ", item() * 100_000))
    parsed = parse_instance(data)
    assert len(parsed.dicom_json["0040A730"]["Value"]) == 100_000


def test_the_number_of_elements_is_bounded(monkeypatch):
    monkeypatch.setattr(walk.Walk, "__init__", _with_budget(walk.Walk.__init__, 1000))
    parse_instance(file(explicit(0x0040A730, "SQ", item() * 900)))
    with pytest.raises(TooComplex):
        parse_instance(file(explicit(0x0040A730, "SQ", item() * 1001)))
    elements = b"".join(explicit(0x00111000 + number, "US", b"\1\0") for number in range(1001))
    for data in (elements, explicit(0x0040A730, "SQ", item(elements))):
        with pytest.raises(TooComplex):
            parse_instance(file(data))


def _with_budget(original, budget):
    def init(self, *args, **kwargs):
        original(self, *args, **kwargs)
        self.budget = budget

    return init


def test_what_stays_inline_is_bounded():
    value = explicit(0x00111000, "US", bytes(60_000))
    parsed = parse_instance(file(explicit(0x0040A730, "SQ", item(value) * 600)))
    paths = [bulk.path for bulk in parsed.bulk]
    assert paths[0] == "0040A730/140/00111000"  # 8 MiB stay
    assert len(paths) == 461
    (bulk,) = parse_instance(file(explicit(0x00420011, "UT", b"x" * 65_538))).bulk
    assert bulk.path == "00420011"


@pytest.mark.parametrize(
    ("tag", "vr", "value", "units"),
    [
        (0x00209056, "SH", b"a\\b ", 4),
        (0x00181020, "LO", b"a\\b\\c ", 6),
        (0x00081070, "PN", b"a\\b ", 16),
        (0x00200032, "DS", b"1\\2\\3 ", 3),
        (0x00281052, "US", bytes(8), 4),
        (0x00280009, "AT", bytes(8), 4),
        (0x00181020, "LO", b"alone ", 0),
    ],
)
def test_values_beside_others_are_counted(tag, vr, value, units):
    """34 MiB of DS values of under 64 bytes took 700 MiB while they were read, of PN 2 GiB."""
    data = file(explicit(tag, vr, value))
    level = Level(Walk(data), EXPLICIT_LITTLE, len(data))
    read_data_set(level, read_file_meta(data).data_set_offset)
    assert level.walk.value_units == MAX_VALUE_UNITS - units


def test_more_values_than_any_object_has_are_refused():
    values = explicit(0x00081070, "PN", b"\\".join([b"ab"] * 21))
    items = item(values) * (MAX_VALUE_UNITS // (21 * 8) + 1)
    with pytest.raises(TooComplex):
        parse_instance(file(explicit(0x00400275, "SQ", items)))


def test_the_json_is_serializable_whatever_the_values():
    data = file(
        explicit(0x00081030, "LO", b"a\0b\xff\x1b$B\x80 "),
        explicit(0x00189074, "FD", pack("<ddd", float("nan"), float("inf"), 1e300)),
        explicit(0x00280030, "DS", b"1e999\\nan"),
    )
    dicom_json = parse_instance(data).dicom_json
    assert orjson.loads(orjson.dumps(dicom_json)) == dicom_json
    assert dicom_json["00081030"]["Value"] == ["a\ufffdb\xff\x1b$B\x80"]
    assert dicom_json["00189074"]["Value"] == ["NaN", "Infinity", 1e300]
    assert dicom_json["00280030"]["Value"] == ["1e999", "nan"]


def test_every_warning_is_documented():
    root = Path(__file__).parents[3]
    source = "".join(path.read_text() for path in (root / "dicomweb" / "wire").glob("*.py"))
    said = set(re.findall(r'(?:warn\(|append\(|warnings\[|f)"([a-z]+(?:-[a-z]+)+)[ "]', source))
    documented = set(
        re.findall(r"^\| `([a-z-]+)`", (root / "docs/conformance/reading-dicom.md").read_text(), re.M)
    )
    assert said == documented
