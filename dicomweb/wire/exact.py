"""A document's data set with every number as it is written, and long text in its place (PS3.18 F.2). Pure.

DICOM JSON of an archive has decimal strings as numbers, which lose digits ("7.10"), and leaves long values
out. Who translates a document wants both: here DS and IS are text (F.2.3 allows it).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dicomweb.wire.data_set import read_data_set
from dicomweb.wire.deflate import inflate_data_set
from dicomweb.wire.dictionary import vr_of
from dicomweb.wire.file_meta import DEFLATED, read_file_meta
from dicomweb.wire.instance import SYNTAXES
from dicomweb.wire.values import Reader, plain_reader
from dicomweb.wire.walk import EXPLICIT_LITTLE, BulkValue, Level, Syntax, Walk

Json = Any

_AS_TEXT: Mapping[bytes, Reader] = {b"DS": plain_reader("DS"), b"IS": plain_reader("IS")}
_LONG_TEXT = frozenset({"UT", "LT", "UC", "ST"})


def read_exactly(file: bytes) -> dict[str, Json]:
    """The data set of a whole DICOM file.

    Raises:
        UnreadableDataSet, TransferSyntaxUnknown: as `parse_instance`.
    """
    meta = read_file_meta(file)
    buffer = inflate_data_set(file, meta.data_set_offset) if meta.transfer_syntax_uid in DEFLATED else file
    walk = Walk(buffer)
    level = Level(walk, _exact(SYNTAXES.get(meta.transfer_syntax_uid, EXPLICIT_LITTLE)), len(buffer))
    read_data_set(level, meta.data_set_offset)
    for value in walk.bulk:
        _put_back(level, value)
    return level.out


def _exact(syntax: Syntax) -> Syntax:
    return replace(syntax, short={**syntax.short, **_AS_TEXT}, readers={**syntax.readers, **_AS_TEXT})


def _put_back(level: Level, value: BulkValue) -> None:
    """Set a text that was too long to stand in line."""
    *path, key = value.path.split("/")
    vr = vr_of(int(key, 16))
    if vr not in _LONG_TEXT:
        return
    holder = level.out
    for sequence, item in zip(path[::2], path[1::2], strict=True):
        holder = holder[sequence]["Value"][int(item) - 1]
    raw = level.walk.buffer[value.offset : value.offset + value.length]
    holder[key] = level.syntax.readers[vr.encode()](raw, level, int(key, 16))
