"""DICOM files, made up and mutated: we and pydicom agree, what is rewritten says the same (PS3.5 §7)."""

import io
import warnings
from functools import cache
from pathlib import Path
from struct import pack
from typing import Any

import orjson
import pydicom
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.wire.dictionary import tag_of, vr_of
from dicomweb.wire.instance import SYNTAXES, ParsedInstance, inflated_file, parse_instance
from dicomweb.wire.native_xml import native_xml
from dicomweb.wire.rewrite import rewrite, rewrite_file_meta
from dicomweb.wire.walk import EXPLICIT_LITTLE
from server.kernel.faults import Fault
from tests.properties.fuzz.properties import Property
from tests.unit.dicomweb_wire.files import (
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    even,
    explicit,
    file,
    implicit,
    item,
)
from tests.unit.dicomweb_wire.pydicom_json import comparable

ABOUT_THE_WHOLE = ("patient-id-absent", "frames-unknown", "file-meta")  # warnings that change no value
EXPLICIT, IMPLICIT = ts.ExplicitVRLittleEndian, ts.ImplicitVRLittleEndian

KEYWORDS = (
    *(
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "Modality",
        "PatientName",
        "PatientAge",
        "PatientComments",
    ),
    *("ImagePositionPatient", "SeriesNumber", "Rows", "SmallestImagePixelValue", "FrameReferenceTime"),
    *("FrameIncrementPointer", "RetrieveAETitle", "AcquisitionDateTime", "RetrieveURL", "LongCodeValue"),
    *("OperatorsName", "ImageType", "RecommendedDisplayFrameRate", "SelectorUVValue", "SelectorSVValue"),
    *("EncapsulatedDocument", "FloatPixelData", "TextValue", "SelectorFLValue", "SelectorSLValue"),
)
SEQUENCES = ("RequestAttributesSequence", "ReferencedStudySequence", "ProcedureCodeSequence")
TEXTS = (
    b"",
    b" ",
    b"A",
    b"AB",
    b"A\\B",
    b"A\\\\B",
    b" A ",
    b"A\\ ",
    b"A^B=C=D",
    b"^",
    b"=",
    b"1",
    b"-1\\2",
    b"1.5",
)
TEXTS += (b"1.5\\2\\3.25", b"20260131", b"101530.5", b"030Y", b"1E3", b"0" * 15, b"1.2.3", b"http://x/y?z")
NUMBER_BYTES = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "UV": 8, "SV": 8, "AT": 4, "OF": 4}

texts = st.sampled_from(TEXTS) | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(
    str.encode
)
Element = tuple[int, str, bytes | list[Any]]  # tag, VR, value or the items of a sequence


def _value(vr: str) -> st.SearchStrategy[bytes]:
    if size := NUMBER_BYTES.get(vr):
        return st.integers(0, 3).flatmap(
            lambda count: st.binary(min_size=count * size, max_size=count * size)
        )
    if vr in ("OB", "OW", "UN"):
        return st.binary(max_size=12).map(lambda raw: even(raw, b"\0"))
    return texts.map(lambda text: even(text, b"\0" if vr == "UI" else b" "))


def _leaf(keyword: str) -> st.SearchStrategy[Element]:
    tag = tag_of(keyword) or 0
    return _value(vr_of(tag)).map(lambda value: (tag, vr_of(tag), value))


leaves = st.sampled_from(KEYWORDS).flatmap(_leaf)
private = st.sampled_from(["LO", "DS", "US", "OB", "UN", "FD"]).flatmap(
    lambda vr: _value(vr).map(lambda value: (0x00091001, vr, value))
)


def _sequence(elements: st.SearchStrategy[Element]) -> st.SearchStrategy[Element]:
    items = st.lists(st.lists(elements, max_size=4), max_size=3)
    return st.tuples(st.sampled_from(SEQUENCES), items).map(lambda made: (tag_of(made[0]), "SQ", made[1]))


elements = st.recursive(leaves | private, _sequence, max_leaves=12)
data_sets = st.tuples(
    st.lists(elements, max_size=8), st.booleans(), st.sampled_from([EXPLICIT, IMPLICIT]), st.booleans()
)


def _encoded(element: Element, *, explicit_vr: bool, delimited: bool) -> bytes:
    tag, vr, value = element
    length = None
    if isinstance(value, list):
        value = _items(value, explicit_vr=explicit_vr, delimited=delimited)
        length = UNDEFINED if delimited else None
    return explicit(tag, vr, value, length) if explicit_vr else implicit(tag, value, length)


def _items(found: list[Any], *, explicit_vr: bool, delimited: bool) -> bytes:
    made = b""
    for each in found:
        content = _joined(each, explicit_vr=explicit_vr, delimited=delimited)
        made += item(content, UNDEFINED) + ITEM_END if delimited else item(content)
    return made + (SEQUENCE_END if delimited else b"")


def _joined(found: list[Element], *, explicit_vr: bool, delimited: bool) -> bytes:
    once = {element[0]: element for element in found}
    return b"".join(_encoded(once[tag], explicit_vr=explicit_vr, delimited=delimited) for tag in sorted(once))


def _theirs(data: bytes) -> Any:
    """The DICOM JSON of pydicom; None: it cannot make one."""
    with warnings.catch_warnings(action="ignore"):
        try:
            return orjson.loads(orjson.dumps(pydicom.dcmread(io.BytesIO(data)).to_json_dict()))
        except Exception:  # noqa: BLE001  whatever it raises: there is nothing to compare with
            return None


def agrees_with_pydicom(made: tuple[list[Element], bool, str, bool]) -> None:
    """A well-formed data set is read as pydicom reads it, wherever nothing had to be read leniently."""
    found, delimited, syntax, has_character_set = made
    is_explicit = syntax == EXPLICIT
    once = {element[0]: element for element in found}
    encoded = [_encoded(each, explicit_vr=is_explicit, delimited=delimited) for each in once.values()]
    if has_character_set:
        value = b"ISO_IR 192"
        encoded.append(explicit(0x00080005, "CS", value) if is_explicit else implicit(0x00080005, value))
    data = file(*encoded, syntax=syntax)
    _compare(data, parse_instance(data))


def _compare(data: bytes, ours: ParsedInstance) -> None:
    theirs = _theirs(data)
    if theirs is None or any(not warning.startswith(ABOUT_THE_WHOLE) for warning in ours.warnings):
        return
    text = orjson.loads(orjson.dumps(ours.dicom_json))
    assert comparable(text, theirs) == comparable(theirs, text)


NAMES = (
    *("CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "test-SR.dcm"),
    *("image_dfl.dcm", "UN_sequence.dcm", "reportsi.dcm", "SC_rgb_small_odd.dcm", "liver_1frame.dcm"),
)
HEAD_BYTES = 8192


@cache
def _installed(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


_telling = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\xfe\xff\x00\xe0",
    b"\xfe\xff\xdd\xe0",
    b"\xfe\xff\x0d\xe0",
)
_telling += (b"SQ", b"UN", b"OB", b"\x1b$B", b"\\", b"=", pack("<L", 0x7FFFFFFF), b"\x08\x00\x05\x00")
_raws = st.sampled_from(_telling) | st.binary(min_size=1, max_size=4)
_edits = st.tuples(st.sampled_from(["write", "insert", "cut", "double"]), st.integers(128, HEAD_BYTES), _raws)
mutations = st.tuples(st.sampled_from(NAMES), st.lists(_edits, min_size=1, max_size=5))


def mutated(made: tuple[str, list[tuple[str, int, bytes]]]) -> bytes:
    """A file that pydicom brings along, changed."""
    name, edits = made
    data = bytearray(_installed(name))
    for kind, place, raw in edits:
        at = place % len(data)
        match kind:
            case "write":
                data[at : at + len(raw)] = raw
            case "insert":
                data[at:at] = raw
            case "cut":
                del data[at : at + len(raw)]
            case "double":
                data[at:at] = data[at : at + 8 * len(raw)]
    return bytes(data)


def is_read_whole_or_refused(made: tuple[str, list[tuple[str, int, bytes]]]) -> None:
    """What is read can be answered in each form, and written again in Explicit VR Little Endian."""
    data = mutated(made)
    try:
        parsed = parse_instance(data)
    except Fault:
        return
    orjson.dumps(parsed.dicom_json)
    native_xml(parsed.dicom_json)
    assert all(bulk.offset >= 0 and bulk.length >= 0 for bulk in parsed.bulk)
    try:
        again = parse_instance(_rewritten(data, parsed))
    except Fault:
        return
    assert _values(again) == _values(parsed)


def _rewritten(data: bytes, parsed: ParsedInstance) -> bytes:
    whole = bytes(inflated_file(data))
    syntax = SYNTAXES.get(parsed.transfer_syntax_uid, EXPLICIT_LITTLE)
    made, _ = rewrite(whole, parsed.data_set_offset, syntax, {})
    return bytes(rewrite_file_meta(whole, parsed.data_set_offset, EXPLICIT) + made)


def _values(parsed: ParsedInstance) -> dict[str, Any]:
    """Attributes by value; where a bulk value lies is another matter, and pixels are not rewritten here."""
    return {key: each for key, each in parsed.dicom_json.items() if not key.startswith("7FE0")}


PROPERTIES = [
    Property("a data set", data_sets, agrees_with_pydicom),
    Property("a changed file", mutations, is_read_whole_or_refused),
]
