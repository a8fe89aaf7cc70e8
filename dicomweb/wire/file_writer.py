"""A DICOM file around a data set: preamble, file meta, encapsulated frames (PS3.10 §7, PS3.5 A.4). Pure."""

from collections.abc import Sequence
from struct import Struct

from dicomweb.wire.data_set_writer import Encoded
from dicomweb.wire.file_meta import PREAMBLE_BYTES
from dicomweb.wire.pieces import Piece
from dicomweb.wire.walk import ITEM, SEQUENCE_END
from server.kernel.uids import derived_uid

IMPLEMENTATION_CLASS_UID = derived_uid("isthmus", "data set writer")
IMPLEMENTATION_VERSION_NAME = b"ISTHMUS"
MAX_OFFSET = 0xFFFFFFFF  # of a Basic Offset Table's entries

_SHORT, _LONG, _ITEM = Struct("<HH2sH").pack, Struct("<HH2sHL").pack, Struct("<HHL").pack


def write_head(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """What stands before the data set; UIDs that are "" are left out."""
    elements = _LONG(2, 0x0001, b"OB", 0, 2) + b"\0\1"
    for element, uid in (
        (0x0002, sop_class_uid),
        (0x0003, sop_instance_uid),
        (0x0010, transfer_syntax_uid),
        (0x0012, IMPLEMENTATION_CLASS_UID),
    ):
        if uid:
            elements += _short(element, b"UI", uid.encode("ascii"), b"\0")
    elements += _short(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME, b" ")
    group_length = _short(0x0000, b"UL", len(elements).to_bytes(4, "little"), b"")
    return bytes(PREAMBLE_BYTES) + b"DICM" + group_length + elements


def _short(element: int, vr: bytes, value: bytes, padding: bytes) -> bytes:
    if len(value) % 2:
        value += padding
    return _SHORT(2, element, vr, len(value)) + value


def encapsulate(frames: Sequence[Piece]) -> Encoded:
    """The value of compressed pixel data: offset table, one fragment a frame, delimiter (PS3.5 A.4).

    The table is empty where its 32 bits do not suffice, as the standard allows.
    """
    starts, at = [], 0
    for frame in frames:
        starts.append(at)
        at += 8 + len(frame) + len(frame) % 2
    offsets = b"" if at > MAX_OFFSET else b"".join(start.to_bytes(4, "little") for start in starts)
    value = Encoded()
    value.add(_item(ITEM, len(offsets)), offsets)
    for frame in frames:
        value.add(_item(ITEM, len(frame) + len(frame) % 2), frame, b"\0" * (len(frame) % 2))
    value.add(_item(SEQUENCE_END, 0))
    return value


def _item(tag: int, length: int) -> bytes:
    return _ITEM(tag >> 16, tag & 0xFFFF, length)
