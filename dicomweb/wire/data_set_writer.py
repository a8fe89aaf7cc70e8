"""A data set of the DICOM JSON Model to bytes: Explicit VR Little Endian (PS3.18 F.2, PS3.5 §7, A.2). Pure.

Attributes are written in ascending order, sequences and items with their lengths, values padded to even
length. Left out: group lengths and the command and file meta groups. Text is UTF-8, and (0008,0005) says so
wherever it is there or needed. Bulk data is not copied: the bytes come as a list of pieces.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

from dicomweb.wire.dictionary import vr_of
from dicomweb.wire.faults import UnwritableDataSet
from dicomweb.wire.pieces import Piece
from dicomweb.wire.value_writers import PADDING, WRITERS, NotOfVr, inline_binary
from dicomweb.wire.values import WORD_BYTES
from dicomweb.wire.walk import ITEM, LONG_FORM, MAX_DEPTH

Json = Any
BulkData = Callable[[str], list[Piece]]  # BulkDataURI -> the bytes of the value

MAX_SHORT_BYTES = 0xFFFE  # of a value with a 16-bit length (PS3.5 §7.1.2)
MAX_VALUE_BYTES = 0xFFFFFFFE  # of any other; 0xFFFFFFFF says that the length is undefined
SPECIFIC_CHARACTER_SET, PIXEL_DATA = "00080005", "7FE00010"
UTF_8: Json = {"vr": "CS", "Value": ["ISO_IR 192"]}

_KEY = re.compile(r"[0-9A-Fa-f]{8}")
_NOT_OF_DATA_SETS = frozenset({"0000", "0002", "0004", "0006", "FFFE", "FFFF"})  # PS3.5 §7.1, §7.5; PS3.10 §7
_SHORT, _LONG = Struct("<HH2sH").pack, Struct("<HH2sHL").pack
_ITEM = Struct("<HHL").pack
_LONG_VRS = frozenset(vr.decode("ascii") for vr in LONG_FORM)


@dataclass(slots=True)
class Encoded:
    """Bytes in pieces, and how many they are."""

    pieces: list[Piece] = field(default_factory=list)
    length: int = 0

    def add(self, *pieces: Piece) -> None:
        """Append pieces."""
        self.pieces += pieces
        self.length += sum(map(len, pieces))

    def join(self, other: "Encoded") -> None:
        """Append another's pieces."""
        self.pieces += other.pieces
        self.length += other.length


def write_data_set(
    dicom_json: Mapping[str, Json], bulk_data: BulkData, encapsulated: Encoded | None = None
) -> Encoded:
    """The bytes of a data set. `encapsulated` is the value of its pixel data where that is compressed.

    Raises:
        UnwritableDataSet: an attribute cannot be written; the fault names it.
    """
    writing = _Writing(bulk_data)
    body = writing.data_set(dicom_json, "", 0, encapsulated)
    is_said = any(key == SPECIFIC_CHARACTER_SET for key in dicom_json)
    if writing.needs_utf_8 and not is_said:
        said = {**dicom_json, SPECIFIC_CHARACTER_SET: UTF_8}
        body = _Writing(bulk_data).data_set(said, "", 0, encapsulated)
    return body


@dataclass(slots=True)
class _Writing:
    """One data set under way, with those of its items."""

    bulk_data: BulkData
    needs_utf_8: bool = False

    def data_set(
        self, dicom_json: Json, path: str, depth: int, encapsulated: Encoded | None = None
    ) -> Encoded:
        encoded = Encoded()
        for key, attribute in _in_order(dicom_json, path):
            if key == PIXEL_DATA and encapsulated is not None and not depth:
                encoded.add(_LONG(0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF))
                encoded.join(encapsulated)
                continue
            try:
                encoded.join(self.element(key, attribute, path, depth))
            except NotOfVr as error:
                raise UnwritableDataSet(path + key, str(error)) from error
        return encoded

    def element(self, key: str, attribute: Json, path: str, depth: int) -> Encoded:
        vr = _vr(key, attribute)
        if vr == "SQ":
            value = self.sequence(attribute, path + key, depth)
        elif key == SPECIFIC_CHARACTER_SET:
            value = Encoded([b"ISO_IR 192"], 10)
        else:
            value = self.value(vr, attribute)
        if value.length % 2:
            value.add(PADDING.get(vr, b" "))
        encoded = Encoded()
        encoded.add(_head(key, vr, value.length))
        encoded.join(value)
        return encoded

    def sequence(self, attribute: Json, path: str, depth: int) -> Encoded:
        if depth >= MAX_DEPTH:
            raise NotOfVr("sequences nest too deeply")
        if "BulkDataURI" in attribute or "InlineBinary" in attribute:
            raise NotOfVr("a sequence has its items as Value")
        value = Encoded()
        for number, item in enumerate(_values(attribute), 1):
            content = self.data_set(item or {}, f"{path}/{number}/", depth + 1)
            if content.length > MAX_VALUE_BYTES:
                raise NotOfVr("an item is longer than a length can say")
            value.add(_ITEM(ITEM >> 16, ITEM & 0xFFFF, content.length))
            value.join(content)
        return value

    def value(self, vr: str, attribute: Mapping[str, Json]) -> Encoded:
        value = Encoded()
        if "BulkDataURI" in attribute:
            uri = attribute["BulkDataURI"]
            if not isinstance(uri, str):
                raise NotOfVr("BulkDataURI is not text")
            value.add(*self.bulk_data(uri))
        elif vr in WORD_BYTES:
            if "Value" in attribute:
                raise NotOfVr("the VR has InlineBinary or BulkDataURI, and no Value")
            value.add(inline_binary(attribute.get("InlineBinary", "")))
        elif "InlineBinary" in attribute:
            raise NotOfVr("the VR has its values as Value")
        else:
            written = WRITERS[vr](_values(attribute))
            self.needs_utf_8 = self.needs_utf_8 or (vr not in _BINARY_NUMBERS and not written.isascii())
            value.add(written)
        return value


_BINARY_NUMBERS = frozenset({"US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"})


def attributes_by_key(dicom_json: Json, path: str = "") -> dict[str, dict[str, Json]]:
    """The attributes of a data set as a stranger wrote it, by their keys in upper case, in ascending order.

    Raises:
        UnwritableDataSet: it is no JSON object, a member is no attribute, or a Value no array.
    """
    if not isinstance(dicom_json, dict):
        raise UnwritableDataSet(path.rstrip("/"), "an item is not a JSON object")
    upper: dict[str, dict[str, Json]] = {}
    for name, attribute in dicom_json.items():
        key = name.upper()
        if not _KEY.fullmatch(name) or not isinstance(attribute, dict) or key in upper:
            raise UnwritableDataSet(path.rstrip("/"), "a member is not an attribute by its tag, once")
        if not isinstance(attribute.get("Value", []), list | None):
            raise UnwritableDataSet(path + key, "Value is not an array")
        upper[key] = attribute
    return dict(sorted(upper.items()))


def _in_order(dicom_json: Json, path: str) -> Iterator[tuple[str, Json]]:
    """The attributes to be written, by tag.

    Raises:
        UnwritableDataSet: a member is no attribute.
    """
    for key, attribute in attributes_by_key(dicom_json, path).items():
        if key[:4] not in _NOT_OF_DATA_SETS and key[4:] != "0000":
            yield key, attribute


def _vr(key: str, attribute: Mapping[str, Json]) -> str:
    vr = attribute.get("vr") or vr_of(int(key, 16))
    if not isinstance(vr, str) or (vr != "SQ" and vr not in WRITERS and vr not in WORD_BYTES):
        raise NotOfVr("the VR is not one of the standard")
    return vr


def _values(attribute: Mapping[str, Json]) -> list[Json]:
    return attribute.get("Value") or []


def _head(key: str, vr: str, length: int) -> bytes:
    """Tag, VR and length; a value too long for a 16-bit length goes as UN (PS3.5 §6.2.2)."""
    group, element = int(key[:4], 16), int(key[4:], 16)
    if length > MAX_VALUE_BYTES:
        raise NotOfVr("the value is longer than a length can say")
    if vr not in _LONG_VRS and length > MAX_SHORT_BYTES:
        vr = "UN"
    if vr in _LONG_VRS:
        return _LONG(group, element, vr.encode("ascii"), 0, length)
    return _SHORT(group, element, vr.encode("ascii"), length)
