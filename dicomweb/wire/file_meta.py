"""The head of a DICOM file: preamble, prefix and File Meta Information (PS3.10 §7.1)."""

from dataclasses import dataclass
from struct import Struct

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.wire.faults import NotDicom, TransferSyntaxUnknown, Truncated
from dicomweb.wire.walk import LONG_FORM, Buffer

PREAMBLE_BYTES = 128
MAX_META_BYTES = 1 << 20  # real ones are under a kilobyte; private information may be larger
# Registered, but not of files: answered by other means than the walk of a data set.
NOT_OF_FILES = frozenset(
    uid
    for uid, (keyword, _) in ts.TRANSFER_SYNTAXES.items()
    if keyword.startswith(("SMPTE", "RFC2557", "XML", "Papyrus"))
)
DEFLATED = frozenset(
    {ts.DeflatedExplicitVRLittleEndian, ts.JPIPReferencedDeflate, ts.JPIPHTJ2KReferencedDeflate}
)
NATIVE = frozenset(
    {
        ts.ImplicitVRLittleEndian,
        ts.ExplicitVRLittleEndian,
        ts.ExplicitVRBigEndian,
        ts.DeflatedExplicitVRLittleEndian,
    }
)
_ELEMENT, _LENGTH = Struct("<HH2sH").unpack_from, Struct("<L").unpack_from
_CLASS_UID, _INSTANCE_UID, _TRANSFER_SYNTAX, _GROUP_LENGTH = 0x0002, 0x0003, 0x0010, 0x0000


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What the file meta says; empty text: it does not."""

    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    data_set_offset: int
    warnings: tuple[str, ...]


def _elements(buffer: Buffer, end: int) -> tuple[dict[int, bytes], int]:
    """Element number -> value of group 0002, and where the data set begins; needs no group length."""
    values: dict[int, bytes] = {}
    pos = PREAMBLE_BYTES + 4
    limit = min(end, pos + MAX_META_BYTES)
    while pos + 8 <= limit:
        group, element, vr, length = _ELEMENT(buffer, pos)
        if group != 2:
            break
        start = pos + 8
        if vr in LONG_FORM:
            if start + 4 > limit:
                raise Truncated("file meta information is cut off")
            (length,), start = _LENGTH(buffer, start), start + 4
        if start + length > limit:
            raise Truncated("file meta information reaches over the end")
        values[element] = bytes(buffer[start : start + length])
        pos = start + length
    return values, pos


def _uid(values: dict[int, bytes], element: int) -> str:
    return values.get(element, b"").decode("latin_1").strip("\0 ")


def _warnings(buffer: Buffer, values: dict[int, bytes], data_set_offset: int) -> tuple[str, ...]:
    found = []
    preamble = bytes(buffer[:PREAMBLE_BYTES])
    if preamble.strip(b"\0") and not preamble.startswith((b"II*\0", b"MM\0*")):
        found.append("preamble-not-empty")  # neither zeros nor TIFF: may be a program (PS3.10 §7.1 note)
    stated = values.get(_GROUP_LENGTH, b"")
    begins = PREAMBLE_BYTES + 4 + 12
    if len(stated) != 4 or begins + int.from_bytes(stated, "little") != data_set_offset:
        found.append("file-meta-group-length")
    found += [
        f"file-meta-lacks 0002{tag:04X}" for tag in (_CLASS_UID, _INSTANCE_UID) if not _uid(values, tag)
    ]
    return tuple(found)


def read_file_meta(buffer: Buffer) -> FileMeta:
    """The file meta of a whole DICOM file.

    Raises:
        NotDicom: empty, or no preamble and prefix.
        Truncated: the file ends within its meta information.
        TransferSyntaxUnknown: no transfer syntax, or none that a file can have.
    """
    end = len(buffer)
    if not end:
        raise NotDicom("the part is empty")
    if bytes(buffer[PREAMBLE_BYTES : PREAMBLE_BYTES + 4]) != b"DICM":
        raise NotDicom("not a DICOM file: no DICM prefix behind a preamble of 128 bytes")
    values, data_set_offset = _elements(buffer, end)
    syntax = _uid(values, _TRANSFER_SYNTAX)
    if not syntax:
        raise TransferSyntaxUnknown("TransferSyntaxUID is missing in the file meta information")
    if syntax not in ts.TRANSFER_SYNTAXES or syntax in NOT_OF_FILES:
        raise TransferSyntaxUnknown("TransferSyntaxUID is not one of a DICOM file that this server knows")
    return FileMeta(
        transfer_syntax_uid=syntax,
        sop_class_uid=_uid(values, _CLASS_UID),
        sop_instance_uid=_uid(values, _INSTANCE_UID),
        data_set_offset=data_set_offset,
        warnings=_warnings(buffer, values, data_set_offset),
    )
