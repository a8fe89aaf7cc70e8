"""A Store request of metadata and bulk data: from its parts to DICOM files (PS3.18 10.5.1, 8.7.3).

All parts are received before the first file is made, since bulk data comes behind the metadata; what is large
lies in the spool. A data set of which no file can be made is a failed instance, as is a document that is no
data set, and bulk data that nothing names.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson

from dicomweb.attributes import DicomJson
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.response_codes import StoreFailure
from dicomweb.store.built_files import build_file, identifiers
from dicomweb.store.bulk_parts import PNG, BulkPart, BulkParts, BulkType, bulk_type, native_image
from dicomweb.store.instances import FailedAttribute, InstanceResult, Refusal
from dicomweb.store.limits import (
    MAX_BULK_PARTS,
    MAX_DATA_SETS,
    MAX_METADATA_BYTES,
    MAX_METADATA_VALUES,
    MAX_PNG_BYTES,
    SPOOL_WRITE_BYTES,
)
from dicomweb.store.receive import ReceivedPart
from dicomweb.wire.faults import MultipartFault, UnreadableDataSet, UnwritableDataSet
from dicomweb.wire.media_types import parse_media_type
from dicomweb.wire.native_xml_reader import read_native_xml
from dicomweb.wire.negotiation import DICOM_JSON, OCTETS
from dicomweb.wire.pieces import FileRange
from server.kernel.faults import TooLarge

DICOM_XML = "application/dicom+xml"
Headers = Mapping[str, str]
NewPart = Callable[[], ReceivedPart]
ReadPng = Callable[[bytes], Awaitable[tuple[dict[str, int], bytes]]]  # the task `read_png` of the pixel pool

UNUSED_COMMENT = "Bulk data that no BulkDataURI of the metadata names"


def read_json(document: bytes) -> list[DicomJson]:
    """The data sets of a metadata part: an array of DICOM JSON objects, or one (PS3.18 F.2.1).

    Raises:
        MultipartFault: it is something else.
        TooLarge: it holds too much to be taken apart in memory.
    """
    if sum(map(document.count, (b",", b"{", b"["))) > MAX_METADATA_VALUES:
        raise TooLarge("The metadata holds more values than this server takes at once.")
    try:
        found = orjson.loads(document)
    except orjson.JSONDecodeError:
        raise MultipartFault("a metadata part is not JSON") from None
    data_sets = found if isinstance(found, list) else [found]
    if not all(isinstance(data_set, dict) for data_set in data_sets):
        raise MultipartFault("a metadata part is not an array of DICOM JSON objects")
    return data_sets


def read_xml(document: bytes) -> list[DicomJson | UnreadableDataSet]:
    """The data set of a metadata part: one Native DICOM Model each (PS3.18 F.3.1), or why it is none."""
    try:
        return [read_native_xml(document)]
    except UnreadableDataSet as fault:
        return [fault]


DataSets = Sequence[DicomJson | UnreadableDataSet]
READERS: Mapping[str, Callable[[bytes], DataSets]] = {DICOM_JSON: read_json, DICOM_XML: read_xml}


@dataclass(slots=True)
class _Collected:
    """The parts of one request."""

    metadata: list[ReceivedPart] = field(default_factory=list)
    decoded: list[ReceivedPart] = field(default_factory=list)
    bulk: list[tuple[str, BulkType, ReceivedPart]] = field(default_factory=list)  # with Content-Location

    def take(self, metadata_type: str, headers: Headers, part: ReceivedPart) -> None:
        """Sort a part in.

        Raises:
            UnsupportedContentType: it is of a media type of which no instance is made.
            MultipartFault: bulk data has no Content-Location.
            TooLarge: too much metadata, or too many parts.
        """
        media_type = parse_media_type(headers.get("content-type", ""))
        if media_type is not None and media_type.name == metadata_type:
            self.metadata.append(part)
            if sum(each.length for each in self.metadata) > MAX_METADATA_BYTES:
                raise TooLarge("The metadata of the request is larger than this server takes at once.")
            return
        kind, location = bulk_type(headers.get("content-type")), headers.get("content-location", "")
        self.bulk.append((location, kind, part))
        if not location:
            raise MultipartFault("a part of bulk data has no Content-Location")
        if len(self.bulk) > MAX_BULK_PARTS:
            raise TooLarge("The request has more parts of bulk data than this server takes at once.")

    def discard(self) -> None:
        """Let go of every part."""
        for part in (*self.metadata, *self.decoded, *(part for _, _, part in self.bulk)):
            part.discard()


async def files_of(
    metadata_type: str,
    parts: AsyncIterator[tuple[Headers, ReceivedPart]],
    new_part: NewPart,
    read_png: ReadPng,
) -> AsyncIterator[ReceivedPart]:
    """A part with a file, or with why there is none, for each data set of the metadata.

    Raises:
        MultipartFault, UnsupportedContentType, TooLarge: the request cannot be taken as a whole.
    """
    collected = _Collected()
    try:
        async for headers, part in parts:
            try:
                collected.take(metadata_type, headers, part)
            except BaseException:
                part.discard()
                raise
        data_sets = await asyncio.to_thread(_read, READERS[metadata_type], collected.metadata)
        if not data_sets:
            raise MultipartFault("the request has no metadata")
        bulk = await _bulk_parts(collected, new_part, read_png)
        async for built in _build_all(data_sets, bulk, new_part):
            yield built
    finally:
        collected.discard()


def _read(read: Callable[[bytes], DataSets], metadata: Sequence[ReceivedPart]) -> DataSets:
    data_sets: list[DicomJson | UnreadableDataSet] = []
    for part in metadata:
        with part.opened() as body:
            data_sets += read(bytes(body))
        if len(data_sets) > MAX_DATA_SETS:
            raise TooLarge("The metadata describes more instances than this server takes at once.")
    return data_sets


async def _bulk_parts(collected: _Collected, new_part: NewPart, read_png: ReadPng) -> BulkParts:
    by_location: dict[str, list[BulkPart]] = {}
    for location, kind, part in collected.bulk:
        found = BulkPart(kind, part.content)
        if kind.media_type == PNG:
            found = await _decoded(found, collected, new_part, read_png)
        by_location.setdefault(location, []).append(found)
    return BulkParts(by_location)


async def _decoded(part: BulkPart, collected: _Collected, new_part: NewPart, read_png: ReadPng) -> BulkPart:
    """A PNG image as native pixels, in the spool when they are many; or with what is wrong."""
    if len(part.data) > MAX_PNG_BYTES:
        return replace(part, problem="a PNG image is larger than this server takes")
    try:
        told, pixels = await read_png(await asyncio.to_thread(bytes, part.data))
    except PixelsUnreadable as fault:
        return replace(part, problem=str(fault))
    decoded = new_part()
    collected.decoded.append(decoded)
    view = memoryview(pixels)
    for start in range(0, len(view), SPOOL_WRITE_BYTES):
        await decoded.write(view[start : start + SPOOL_WRITE_BYTES])
    await decoded.finish()
    return BulkPart(BulkType(OCTETS, None), decoded.content, native_image(**told))


async def _build_all(data_sets: DataSets, parts: BulkParts, new_part: NewPart) -> AsyncIterator[ReceivedPart]:
    has_failed = False
    for data_set in data_sets:
        built = await _built(data_set, parts, new_part())
        has_failed = has_failed or built.failure is not None
        yield built
    for _ in () if has_failed else parts.unused:  # a failed instance may be whose it is
        unused = new_part()
        refusal = Refusal(StoreFailure.CANNOT_UNDERSTAND, (FailedAttribute("", UNUSED_COMMENT),))
        unused.failure = InstanceResult("", "", "", "", refusal)
        yield unused


async def _built(
    data_set: DicomJson | UnreadableDataSet, parts: BulkParts, built: ReceivedPart
) -> ReceivedPart:
    if isinstance(data_set, UnreadableDataSet):
        built.failure = _failure({}, data_set)
        return built
    try:
        file = await asyncio.to_thread(build_file, data_set, parts)
        for piece in file.pieces:
            for start in range(0, len(piece), SPOOL_WRITE_BYTES):
                some = piece[start : start + SPOOL_WRITE_BYTES]
                await built.write(
                    await asyncio.to_thread(bytes, some) if isinstance(some, FileRange) else some
                )
        await built.finish()
    except UnwritableDataSet as fault:
        built.failure = _failure(data_set, fault)
    except BaseException:
        built.discard()
        raise
    return built


def _failure(data_set: DicomJson, fault: UnreadableDataSet) -> InstanceResult:
    """The failed instance; named is the outermost attribute of the path."""
    outermost = fault.path.partition("/")[0] if isinstance(fault, UnwritableDataSet) else ""
    failed = FailedAttribute(outermost, str(fault))
    return InstanceResult(*identifiers(data_set), "", "", Refusal(StoreFailure.CANNOT_UNDERSTAND, (failed,)))
