"""A whole DICOM file (PS3.10) to what the store needs: identity, DICOM JSON, bulk data and frames located."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.wire.data_set import read_data_set
from dicomweb.wire.deflate import inflate_data_set
from dicomweb.wire.dictionary import key_of
from dicomweb.wire.faults import DataSetDoesNotMatch, IdentifierMissing
from dicomweb.wire.file_meta import DEFLATED, NATIVE, FileMeta, read_file_meta
from dicomweb.wire.pixel_data import PixelLayout, pixel_layout
from dicomweb.wire.walk import (
    BULK_PREFIX,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    Buffer,
    BulkValue,
    Level,
    Syntax,
    Walk,
)

__all__ = [
    "BULK_PREFIX",
    "BulkValue",
    "ParsedInstance",
    "PixelLayout",
    "inflated_file",
    "is_uid",
    "parse_instance",
]

Json = Any
IDENTIFIERS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_KEY_OF = {keyword: key_of(keyword) for keyword in IDENTIFIERS}
_PATIENT_ID = key_of("PatientID")
_CHARACTER_SET = key_of("SpecificCharacterSet")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
SYNTAXES: Mapping[str, Syntax] = {
    ts.ImplicitVRLittleEndian: IMPLICIT_LITTLE,
    ts.ExplicitVRBigEndian: EXPLICIT_BIG,
}  # every other one is Explicit VR Little Endian (PS3.5 A.4, A.5)


@dataclass(frozen=True, slots=True)
class ParsedInstance:
    """One instance as it came.

    Offsets count in the file. Of a deflated file they count in `inflated_file(buffer)`, which has the same
    `data_set_offset`.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    dicom_json: dict[str, Json]  # PS3.18 F.2; without group 0002; bulk values with a relative BulkDataURI
    bulk: tuple[BulkValue, ...]
    pixels: PixelLayout | None  # None: no pixel data
    data_set_offset: int
    warnings: tuple[str, ...]  # "code" or "code path"; codes: docs/conformance/reading-dicom.md


def is_uid(text: str) -> bool:
    """Whether `text` may be a UID: digits and dots, no empty component, at most 64 (PS3.5 §9.1).

    A leading zero in a component, which the standard forbids, is let pass: old devices write it.
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def _first(dicom_json: Mapping[str, Json], key: str) -> str:
    """The value of an identifier; empty when absent, and what has several values is not one."""
    values = dicom_json.get(key, {}).get("Value", ("",))
    return "\\".join(str(value or "") for value in values)


def _identity(dicom_json: Mapping[str, Json], meta: FileMeta) -> dict[str, str]:
    """Keyword -> UID of the four identifiers.

    Raises:
        IdentifierMissing: one is absent or empty; the fault names each bad attribute, of either kind.
        DataSetDoesNotMatch: one is no UID or not the one in the file meta.
    """
    found = {keyword: _first(dicom_json, key) for keyword, key in _KEY_OF.items()}
    in_meta = {"SOPInstanceUID": meta.sop_instance_uid, "SOPClassUID": meta.sop_class_uid}
    reasons: dict[str, str] = {}
    missing = False
    for keyword, uid in found.items():
        if not uid:
            reasons[keyword] = "is empty" if _KEY_OF[keyword] in dicom_json else "is absent"
            missing = True
        elif not is_uid(uid):
            reasons[keyword] = "is not a UID"
        elif in_meta.get(keyword) and in_meta[keyword] != uid:
            reasons[keyword] = "is not the one in the file meta information"
    if missing:
        raise IdentifierMissing(reasons)
    if reasons:
        raise DataSetDoesNotMatch(reasons)
    return found


def _as_buffer(buffer: bytes | bytearray | memoryview | Buffer) -> Buffer:
    """What slices to bytes with `decode`; a view of a whole object is that object, others are copied."""
    if not isinstance(buffer, memoryview):
        return buffer
    whole = buffer.obj
    if isinstance(whole, bytes | bytearray) and buffer.nbytes == len(whole) and buffer.c_contiguous:
        return whole
    return buffer.tobytes()


def inflated_file(buffer: bytes | bytearray | memoryview | Buffer) -> bytes | bytearray | Buffer:
    """The file in which the offsets of a `ParsedInstance` count: itself, unless its data set is deflated.

    Raises:
        UnreadableDataSet, TransferSyntaxUnknown: as `parse_instance`.
    """
    file = _as_buffer(buffer)
    meta = read_file_meta(file)
    if meta.transfer_syntax_uid in DEFLATED:
        return inflate_data_set(file, meta.data_set_offset)
    return file


def _with_character_set(out: dict[str, Json]) -> dict[str, Json]:
    """The JSON with (0008,0005) ISO_IR 192 in its place and attributes in ascending order (PS3.18 F.2)."""
    if "Value" in out.get(_CHARACTER_SET, {}) and next(iter(out)) <= _CHARACTER_SET:
        return out
    return dict(sorted((out | {_CHARACTER_SET: {"vr": "CS", "Value": ["ISO_IR 192"]}}).items()))


def parse_instance(buffer: bytes | bytearray | memoryview | Buffer) -> ParsedInstance:
    """Read a whole DICOM file; `buffer` may also be an `mmap` of it.

    Raises:
        UnreadableDataSet: not DICOM, cut off, too complex, or otherwise not to be understood.
        TransferSyntaxUnknown: the transfer syntax is missing or unknown.
        IdentifierMissing, DataSetDoesNotMatch: an identifying attribute is not usable.
    """
    file = _as_buffer(buffer)
    meta = read_file_meta(file)
    syntax_uid = meta.transfer_syntax_uid
    if syntax_uid in DEFLATED:
        file = inflate_data_set(file, meta.data_set_offset)
    walk = Walk(file, warnings=dict.fromkeys(meta.warnings))
    level = Level(walk, SYNTAXES.get(syntax_uid, EXPLICIT_LITTLE), len(file))
    read_data_set(level, meta.data_set_offset)
    identity = _identity(level.out, meta)
    pixels = pixel_layout(walk, level.out, native=syntax_uid in NATIVE)
    _flag(walk, level, pixels)
    return ParsedInstance(
        study_instance_uid=identity["StudyInstanceUID"],
        series_instance_uid=identity["SeriesInstanceUID"],
        sop_instance_uid=identity["SOPInstanceUID"],
        sop_class_uid=identity["SOPClassUID"],
        transfer_syntax_uid=syntax_uid,
        dicom_json=_with_character_set(level.out),
        bulk=tuple(walk.bulk),
        pixels=pixels,
        data_set_offset=meta.data_set_offset,
        warnings=tuple(walk.warnings),
    )


def _flag(walk: Walk, level: Level, pixels: PixelLayout | None) -> None:
    """Warnings about the instance as a whole."""
    if _PATIENT_ID not in level.out:
        walk.warnings["patient-id-absent"] = None
    if pixels is not None and not pixels.frames_known:
        walk.warnings["frames-unknown"] = None
