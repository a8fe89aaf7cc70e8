"""The metadata of many instances as JSON text, kept for the next who asks (PS3.18 10.4.1.1.4).

Viewers of one study ask for the same series one after the other; making its text costs most of the answer. It
is found by the hashes of the files it tells of, which never change, and of what lies over them, once access
was decided.
"""

import asyncio
from collections.abc import Iterator, Sequence
from hashlib import sha256

import zstandard

from dicomweb.metadata import MAX_JSON_BYTES, ZSTD_LEVEL, shown_metadata, unpack_metadata
from dicomweb.retrieve.locate import Located, read_packed_metadata
from dicomweb.urls import instance_url
from server.kernel.metrics import counter
from server.kernel.services import Services

MAX_PAGE_BYTES = 64 << 20  # of JSON text of several instances at once; enhanced objects have 10 MB each
KEPT_FROM = 8  # instances; the text of fewer is made as fast as it is found

_ASKED = counter("isthmus_metadata_pages", "Pages of metadata asked of the cache.", ("found",))


class PageTooLong(Exception):
    """The text of these instances is better answered one by one."""


async def read_page(services: Services, located: Sequence[Located]) -> bytes:
    """The DICOM JSON array of these instances.

    Raises:
        PageTooLong: they are several, and it is over `MAX_PAGE_BYTES`.
    """
    if len(located) < KEPT_FROM:
        return await _make_page(services, located)
    packed = await _kept(services, located)
    if packed is not None:
        return await asyncio.to_thread(_unpack, packed)
    page = await _make_page(services, located)
    await _keep(services, located, page)
    return page


async def read_packed_page(services: Services, located: Sequence[Located]) -> bytes:
    """The same as one zstd frame, as it is kept: a client that takes zstd gets it so; raises as that."""
    if len(located) < KEPT_FROM:
        return _pack(await _make_page(services, located))
    packed = await _kept(services, located)
    return packed or await _keep(services, located, await _make_page(services, located))


async def _kept(services: Services, located: Sequence[Located]) -> bytes | None:
    packed = await services.cache.get(_key(services.public_base, located))
    _ASKED.labels("no" if packed is None else "yes").inc()
    return packed


async def _keep(services: Services, located: Sequence[Located], page: bytes) -> bytes:
    packed = await asyncio.to_thread(_pack, page)
    await services.cache.put(_key(services.public_base, located), packed)
    return packed


async def _make_page(services: Services, located: Sequence[Located]) -> bytes:
    packed = await read_packed_metadata(services.database, [each.key for each in located])
    if len(located) > 1 and sum(map(zstandard.frame_content_size, packed.values())) > MAX_PAGE_BYTES:
        raise PageTooLong

    def unpacked() -> Iterator[bytes]:
        for each in located:
            place = (each.study_instance_uid, each.series_instance_uid, each.sop_instance_uid)
            text = unpack_metadata(packed[each.key], instance_url(services.public_base, *place))
            yield text if each.overlay is None else shown_metadata(text, each.overlay)

    def joined() -> bytes:
        return b"[" + b",".join(unpacked()) + b"]"

    return joined() if len(located) == 1 else await asyncio.to_thread(joined)


def _key(public_base: str, located: Sequence[Located]) -> str:
    digest = sha256(public_base.encode())
    for each in located:
        digest.update(each.version)
    return f"metadata-array:{digest.hexdigest()}"


def _pack(page: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(page)


def _unpack(packed: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(packed, max_output_size=MAX_JSON_BYTES)
