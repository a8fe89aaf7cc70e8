"""DICOM files byte by byte, legal or not: the builders say no more than what is written."""

from struct import pack

from dicomweb.definitions import transfer_syntaxes
from terminology.definitions import sop_classes

STUDY, SERIES, SOP = "1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.1"
CT = sop_classes.CTImageStorage
LONG = {"OB", "OW", "OF", "OL", "OD", "OV", "UN", "SQ", "UC", "UR", "UT", "SV", "UV"}
UNDEFINED = 0xFFFFFFFF


def even(value: bytes, pad: bytes = b" ") -> bytes:
    return value + pad if len(value) % 2 else value


def explicit(tag: int, vr: str, value: bytes = b"", length: int | None = None, order: str = "<") -> bytes:
    """One element with an explicit VR; `length` may lie."""
    length = len(value) if length is None else length
    head = pack(order + "HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    return head + (pack(order + "HL", 0, length) if vr in LONG else pack(order + "H", length)) + value


def implicit(tag: int, value: bytes = b"", length: int | None = None) -> bytes:
    return pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def item(content: bytes = b"", length: int | None = None) -> bytes:
    return implicit(0xFFFEE000, content, length)


ITEM_END = implicit(0xFFFEE00D)
SEQUENCE_END = implicit(0xFFFEE0DD)


def meta(syntax: str, *, sop: str = SOP, sop_class: str = CT) -> bytes:
    """Preamble, prefix and file meta information."""
    elements = explicit(0x00020001, "OB", b"\0\1")
    for tag, uid in ((0x00020002, sop_class), (0x00020003, sop), (0x00020010, syntax)):
        elements += explicit(tag, "UI", even(uid.encode(), b"\0"))
    return bytes(128) + b"DICM" + explicit(0x00020000, "UL", pack("<L", len(elements))) + elements


def file(
    *elements: bytes,
    syntax: str = transfer_syntaxes.ExplicitVRLittleEndian,
    identity: bool = True,
) -> bytes:
    """A file of these elements, which come in one run above group 0008; `identity` puts the four UIDs in."""
    data = b"".join(sorted(elements, key=lambda element: element[:4])) if not identity else b""
    if identity:
        data = identified(*elements, implicit_vr=syntax == transfer_syntaxes.ImplicitVRLittleEndian)
    return meta(syntax) + data


def identified(*elements: bytes, implicit_vr: bool = False) -> bytes:
    """The elements with the identifying ones, in ascending order (little endian)."""

    def uid(tag: int, value: str) -> bytes:
        raw = even(value.encode(), b"\0")
        return implicit(tag, raw) if implicit_vr else explicit(tag, "UI", raw)

    patient = implicit(0x00100020, b"P1") if implicit_vr else explicit(0x00100020, "LO", b"P1")
    everything = [
        uid(0x00080016, CT),
        uid(0x00080018, SOP),
        patient,
        uid(0x0020000D, STUDY),
        uid(0x0020000E, SERIES),
        *elements,
    ]
    return b"".join(sorted(everything, key=lambda raw: (raw[1], raw[0], raw[3], raw[2])))
