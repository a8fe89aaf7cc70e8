"""Stored DICOM JSON: compressed at rest, its bulk data URIs relative until it is answered."""

import asyncio

import orjson
import zstandard

from dicomweb.attributes import DicomJson
from dicomweb.wire.dicom_json import absolute_bulk_uris
from dicomweb.wire.overlay import Overlay, show

ZSTD_LEVEL = 1  # 14 KB of JSON to 2.5 KB in 0.02 ms; higher levels gain little on so small a text
MAX_JSON_BYTES = 256 << 20  # of one instance when unpacked; more than any data set that the reader lets pass
INLINE_BYTES = 32 << 10  # packed; more takes milliseconds to be read


def pack_metadata(dicom_json: DicomJson) -> bytes:
    """DICOM JSON as it is kept."""
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(orjson.dumps(dicom_json))


def unpack_metadata(packed: bytes, instance_url: str) -> bytes:
    """The JSON text of kept metadata, its bulk data URIs made absolute."""
    text = zstandard.ZstdDecompressor().decompress(packed, max_output_size=MAX_JSON_BYTES)
    return absolute_bulk_uris(text, instance_url)


async def parse_metadata(packed: bytes) -> DicomJson:
    """Kept metadata with its bulk data URIs relative; much of it is read beside the event loop."""
    return await asyncio.to_thread(_parsed, packed) if len(packed) > INLINE_BYTES else _parsed(packed)


def _parsed(packed: bytes) -> DicomJson:
    dicom_json: DicomJson = orjson.loads(unpack_metadata(packed, ""))
    return dicom_json


def shown_metadata(text: bytes, overlay: Overlay) -> bytes:
    """The JSON text of an instance with what lies over it."""
    return orjson.dumps(show(orjson.loads(text), overlay))
