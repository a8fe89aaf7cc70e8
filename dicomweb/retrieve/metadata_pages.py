"""The metadata of many instances as JSON text, kept for the next who asks (PS3.18 10.4.1.1.4).

Viewers of one study ask for the same series one after the other; making its text costs most of the answer. It
is found by the hashes of the files it tells of, which never change, after access was decided.
"""

import asyncio
from collections.abc import Iterator, Sequence
from hashlib import sha256

import zstandard

from dicomweb.metadata import MAX_JSON_BYTES, ZSTD_LEVEL, unpack_metadata
from dicomweb.retrieve.locate import Located, read_packed_metadata
from dicomweb.urls import instance_url
from server.kernel.metrics import counter
from server.kernel.services import Services

KEPT_FROM = 8  # instances; the text of fewer is made as fast as it is found

_ASKED = counter("isthmus_metadata_pages", "Pages of metadata asked of the cache.", ("found",))


async def read_page(services: Services, located: Sequence[Located]) -> bytes:
    """The DICOM JSON objects of these instances, joined by commas."""
    if len(located) < KEPT_FROM:
        return await _make_page(services, located)
    key = _key(services.public_base, located)
    packed = await services.cache.get(key)
    _ASKED.labels("no" if packed is None else "yes").inc()
    if packed is not None:
        return await asyncio.to_thread(_unpack, packed)
    page = await _make_page(services, located)
    await services.cache.put(key, await asyncio.to_thread(_pack, page))
    return page


async def _make_page(services: Services, located: Sequence[Located]) -> bytes:
    packed = await read_packed_metadata(services.database, [each.key for each in located])

    def unpacked() -> Iterator[bytes]:
        for each in located:
            place = (each.study_instance_uid, each.series_instance_uid, each.sop_instance_uid)
            yield unpack_metadata(packed[each.key], instance_url(services.public_base, *place))

    if len(located) == 1:
        return next(unpacked())
    return await asyncio.to_thread(lambda: b",".join(unpacked()))


def _key(public_base: str, located: Sequence[Located]) -> str:
    digest = sha256(public_base.encode())
    for each in located:
        digest.update(each.file_sha256)
    return f"metadata:{digest.hexdigest()}"


def _pack(page: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(page)


def _unpack(packed: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(packed, max_output_size=MAX_JSON_BYTES)
