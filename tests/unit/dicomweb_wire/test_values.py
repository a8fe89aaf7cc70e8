from struct import pack

import pytest

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.wire.character_sets import character_set
from dicomweb.wire.instance import parse_instance
from dicomweb.wire.values import decimal_value, integer_value, person_name
from tests.unit.dicomweb_wire.files import explicit, file, item, meta


def _read(tag: int, vr: str, value: bytes, *others: bytes):
    parsed = parse_instance(file(explicit(tag, vr, value), *others))
    return parsed.dicom_json[f"{tag:08X}"], parsed.warnings


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5", 1.5),
        (" 00012.50 ", 12.5),
        ("-0", -0.0),
        ("1E3", 1000.0),
        ("", None),
        ("0.1234567890123", 0.1234567890123),
        ("123456789012345", 123456789012345.0),
        ("9007199254740993", "9007199254740993"),  # a double says …992
        ("0.12345678901234", 0.12345678901234),
        ("1.0000000000000000000000000000000000000000000000000000000000000001", "1." + "0" * 63 + "1"),
        ("1_000", "1_000"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("1e400", "1e400"),
        ("1,5", "1,5"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_decimal_string_is_a_number_only_if_it_keeps_its_value(text, value):
    assert decimal_value(text) == value
    assert type(decimal_value(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        (" +7 ", 7),
        ("-2147483648", -2147483648),
        ("1.0", 1),
        ("1.5", "1.5"),
        ("9007199254740992", 9007199254740992),
        ("9007199254740993", "9007199254740993"),
        ("1_0", "1_0"),
        ("x", "x"),
        ("", None),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_an_integer_string_is_a_number_only_if_it_is_one(text, value):
    assert integer_value(text) == value
    assert type(integer_value(text)) is type(value)


@pytest.mark.parametrize(
    ("vr", "raw", "values"),
    [
        ("DS", b"1.5\\2", [1.5, 2.0]),
        ("DS", b"1\\\\3", [1.0, None, 3.0]),
        ("DS", b"1\\x ", [1.0, "x"]),
        ("DS", b"  ", None),
        ("IS", b"1\\02", [1, 2]),
        ("IS", b"1\\a", [1, "a"]),
        ("CS", b"A\\B \\", ["A", "B", None]),
        ("LO", b" a \\b\0", [" a", "b"]),
        ("LT", b" a\\b ", [" a\\b"]),
        ("UI", b"1.2\\1.3\0", ["1.2", "1.3"]),
        ("UR", b"http://x/a\\b", ["http://x/a\\b"]),
        ("DA", b"20260101-20260102 ", ["20260101-20260102"]),
        ("PN", b"A^B=C=D\\", [{"Alphabetic": "A^B", "Ideographic": "C", "Phonetic": "D"}, None]),
        ("AT", b"\x10\0\x20\0\xfe\xff\0\xe0", ["00100020", "FFFEE000"]),
        ("AT", b"", None),
        ("US", b"", None),
        ("US", b"\1\0\2\0", [1, 2]),
        ("SS", b"\xff\xff", [-1]),
        ("SL", b"\xff\xff\xff\xff", [-1]),
        ("UV", pack("<Q", 2**64 - 1), [2**64 - 1]),
        ("SV", pack("<q", -1), [-1]),
        ("FL", pack("<f", 0.5), [0.5]),
        ("FD", pack("<dd", float("-inf"), 1.0), ["-Infinity", 1.0]),
    ],
)
def test_values_of_a_vr(vr, raw, values):
    expected = {"vr": vr} if values is None else {"vr": vr, "Value": values}
    assert _read(0x00111001, vr, raw)[0] == expected


def test_binary_values_are_inline_up_to_a_limit():
    assert _read(0x00111001, "OB", b"")[0] == {"vr": "OB"}
    assert _read(0x00111001, "OW", b"\1\2")[0] == {"vr": "OW", "InlineBinary": "AQI="}
    assert "InlineBinary" in _read(0x00111001, "OB", bytes(1024))[0]
    assert _read(0x00111001, "OB", bytes(1026))[0] == {"vr": "OB", "BulkDataURI": "bulkdata/00111001"}
    assert _read(0x7FE00010, "OW", b"\1\2")[0] == {"vr": "OW", "BulkDataURI": "bulkdata/7FE00010"}
    assert _read(0x7FE00010, "OW", b"")[0] == {"vr": "OW"}


def test_numbers_kept_as_text_are_flagged():
    assert _read(0x00280030, "DS", b"1\\x ")[1] == ("number-kept-as-text 00280030",)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("", None),
        ("==", None),
        ("A^B ", {"Alphabetic": "A^B"}),
        ("=I", {"Ideographic": "I"}),
        ("A==P", {"Alphabetic": "A", "Phonetic": "P"}),
        ("A=I=P=X", {"Alphabetic": "A", "Ideographic": "I", "Phonetic": "P"}),
    ],
)
def test_component_groups_of_a_name(text, groups):
    assert person_name(text) == groups


@pytest.mark.parametrize(
    ("terms", "raw", "text"),
    [
        pytest.param(("ISO_IR 100",), b"M\xfcller", "Müller", id="Latin-1"),
        pytest.param(("iso-ir 100",), b"M\xfcller", "Müller", id="misspelt term"),
        pytest.param(("ISO_IR 203",), b"\xa4", "€", id="Latin-9"),
        pytest.param(("ISO_IR 144",), b"\xbb\xee\xda", "Люк", id="Cyrillic"),
        pytest.param(("ISO_IR 192",), "Wáng=王".encode(), "Wáng=王", id="UTF-8"),
        pytest.param(("GB18030",), "王\U00020000".encode("gb18030"), "王\U00020000", id="GB18030"),
        pytest.param(("GBK",), "誠".encode("gbk"), "誠", id="GBK with a backslash as second byte"),
        pytest.param(("ISO_IR 13",), b"\xd4\xcf\xc0\xde", "ﾔﾏﾀﾞ", id="JIS X 0201"),
        pytest.param(
            ("", "ISO 2022 IR 87"),
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
            "Yamada^Tarou=山田^太郎",
            id="PS3.5 H.3.1",
        ),
        pytest.param(
            ("", "ISO 2022 IR 149"),
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
            "Hong^Gildong=洪^吉洞",
            id="PS3.5 I.2",
        ),
        pytest.param(
            ("", "ISO 2022 IR 58"),
            b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab",
            "Zhang^XiaoDong=张^小东",
            id="PS3.5 K.2",
        ),
        pytest.param(
            ("ISO 2022 IR 100", "ISO 2022 IR 144"),
            b"\xe9\x1b-L\xbb\\\xe9",
            "éЛ\\é",
            id="reset at a delimiter",
        ),
    ],
)
def test_text_of_a_character_set(terms, raw, text):
    assert character_set(terms).decode(raw) == text


def test_a_backslash_within_a_character_separates_nothing():
    name = "誠".encode("gbk")
    assert b"\\" in name
    element, flags = _read(0x00081030, "LO", name, explicit(0x00080005, "CS", b"GBK "))
    assert element["Value"] == ["誠"]
    assert flags == ()


@pytest.mark.parametrize("terms", [b"ISO_IR 999", b"no\\such"])
def test_an_unknown_character_set_is_flagged(terms):
    element, flags = _read(0x00081030, "LO", b"caf\xe9", explicit(0x00080005, "CS", terms))
    assert element["Value"] == ["café"]
    assert flags == ("unknown-character-set 00080005", "undecodable-text 00081030")


def test_an_item_may_have_its_own_character_set():
    inner = explicit(0x00080005, "CS", b"ISO_IR 192") + explicit(0x00080104, "LO", "é".encode())
    outer = explicit(0x00080104, "LO", b"\xe9 ")
    data = file(
        explicit(0x00080005, "CS", b"ISO_IR 100"), explicit(0x0040A730, "SQ", item(inner) + item(outer))
    )
    first, second = parse_instance(data).dicom_json["0040A730"]["Value"]
    assert first["00080104"]["Value"] == second["00080104"]["Value"] == ["é"]
    assert first["00080005"]["Value"] == ["ISO_IR 192"]


def test_text_is_never_refused():
    for term in (
        b"ISO_IR 192",
        b"GB18030 ",
        b"GBK ",
        b"ISO_IR 13 ",
        b"\\ISO 2022 IR 87",
        b"\\ISO 2022 IR 149",
    ):
        raw = bytes(range(1, 256)) + b"\x1b$B\xff\x1b$)C\xff"
        element, _ = _read(0x00081030, "LO", raw, explicit(0x00080005, "CS", term))
        "".join(text or "" for text in element["Value"]).encode()


def test_the_meta_is_not_in_the_json():
    assert not [key for key in parse_instance(file()).dicom_json if key.startswith("0002")]
    assert meta(ts.ExplicitVRLittleEndian).startswith(bytes(128) + b"DICM")
