"""The files of bundles that an operator added: kept in the database.

They are data of the installation like any other row: in one transaction with the version, in every backup,
and within reach of every worker (`unpacked`). A file is known by its SHA-256; versions share what they have
alike.
"""

import asyncio
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import msgspec
from sqlalchemy import RowMapping, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ai_engine.bundle import Bundle, BundleFile, BundleInvalid, digest_of_files, files_of
from ai_engine.tables import ModelFileChunk, ModelVersion
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of

CHUNK_BYTES = 1 << 20
CHUNKS_AT_ONCE = 8  # of one transaction: others write between
FILES_AT_ONCE = 10  # that a sweep takes away in one transaction
MAX_BUNDLE_BYTES = 2 << 30  # of all files of a bundle
MAX_BUNDLE_FILES = 5000

CHUNK, _VERSION = table_of(ModelFileChunk), table_of(ModelVersion)

Told = Callable[[int], None]  # bytes that are done


class BundleTooLarge(Fault):
    """The bundle has more than the registry takes."""

    kind = FaultKind.TOO_LARGE


def require_size(files: Sequence[BundleFile]) -> None:
    """Refuse what the registry does not take.

    Raises:
        BundleTooLarge: it has too many files, or too many bytes.
    """
    if len(files) > MAX_BUNDLE_FILES or sum(file.size for file in files) > MAX_BUNDLE_BYTES:
        raise BundleTooLarge(
            f"A bundle has at most {MAX_BUNDLE_FILES} files and {MAX_BUNDLE_BYTES >> 20} MiB."
        )


async def keep_files(
    database: Database, folder: Path, files: Sequence[BundleFile], told: Told = lambda _: None
) -> None:
    """Keep the files of a folder; what is kept already is held against them, and made good.

    A file is read twice: only when all of it has shown its hash is a piece of it written, and only pieces
    that are still the same. So nothing wrong comes to stand under a hash that other versions share.

    Raises:
        BundleInvalid: a file changes while it is read.
    """
    for file in files:
        pieces = await asyncio.to_thread(_prove, folder / file.path, file)
        with (folder / file.path).open("rb") as stream:
            await _keep(database, file, stream, pieces)
        told(file.size)


def _prove(path: Path, file: BundleFile) -> list[bytes]:
    """The SHA-256 of each piece of a file that is the one that was registered."""
    whole, pieces = sha256(), []
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            whole.update(chunk)
            pieces.append(sha256(chunk).digest())
    if whole.hexdigest() != file.sha256:
        raise BundleInvalid(f"{file.path} changed while it was read")
    return pieces


async def _keep(database: Database, file: BundleFile, stream: BinaryIO, pieces: Sequence[bytes]) -> None:
    for first in range(0, len(pieces), CHUNKS_AT_ONCE):
        chunks = await asyncio.to_thread(_read_batch, stream)
        if [sha256(chunk).digest() for chunk in chunks] != pieces[first : first + CHUNKS_AT_ONCE]:
            raise BundleInvalid(f"{file.path} changed while it was read")

        async def work(unit: UnitOfWork, first: int = first, chunks: Sequence[bytes] = chunks) -> None:
            await _make_good(unit, file.sha256, first, chunks)

        await database.transact(work)
    beyond = (CHUNK.c.sha256 == file.sha256) & (CHUNK.c.number >= len(pieces))
    await database.transact(lambda unit: unit.execute(delete(CHUNK).where(beyond)))


def _read_batch(stream: BinaryIO) -> list[bytes]:
    chunks = (stream.read(CHUNK_BYTES) for _ in range(CHUNKS_AT_ONCE))
    return [chunk for chunk in chunks if chunk]


async def _make_good(unit: UnitOfWork, digest: str, first: int, chunks: Sequence[bytes]) -> None:
    """Write the pieces of a batch that are not there, or are there as something else; all are needed now."""
    c = CHUNK.c
    await unit.lock([f"model-file:{digest}"])
    of_batch = (c.sha256 == digest) & c.number.between(first, first + len(chunks) - 1)
    found = await unit.execute(select(c.number, c.body).where(of_batch))
    there = {row.number: bytes(row.body) for row in found}
    await unit.execute(update(CHUNK).where(of_batch).values(kept_us=unit.now_us))
    wrong = {number: chunk for number, chunk in enumerate(chunks, first) if there.get(number) != chunk}
    if not wrong:
        return
    await unit.execute(delete(CHUNK).where(c.sha256 == digest, c.number.in_(wrong)))
    same = {"sha256": digest, "kept_us": unit.now_us}
    rows = [{**same, "number": number, "body": chunk} for number, chunk in wrong.items()]
    await unit.execute(insert(CHUNK), rows)


async def hold_unneeded_files(unit: UnitOfWork, before_us: int) -> list[str]:
    """The SHA-256 of some files that no version has, and no `add` since: what an `add` left that was killed.

    They are held: no `add` finds one there before the transaction ends.
    """
    c, newest = CHUNK.c, func.max(CHUNK.c.kept_us)
    old = select(c.sha256).group_by(c.sha256).having(newest < before_us)
    found = set((await unit.execute(old)).scalars())
    if not found:
        return []
    for files in (await unit.execute(select(_VERSION.c.files))).scalars():
        found -= {file.sha256 for file in msgspec.json.decode(files, type=list[BundleFile])}
    held = sorted(found)[:FILES_AT_ONCE]
    await unit.lock([f"model-file:{digest}" for digest in held])
    return list((await unit.execute(old.where(c.sha256.in_(held)))).scalars())


async def is_loadable(connection: AsyncConnection, row: RowMapping) -> bool:
    """Whether the files of a version's row are here: as the package brought them, or kept."""
    if row["path"] and await asyncio.to_thread(is_intact, Path(row["path"]), row["digest"]):
        return True
    return await are_kept(connection, msgspec.json.decode(row["files"], type=list[BundleFile]))


async def are_kept(connection: AsyncConnection, files: Sequence[BundleFile]) -> bool:
    """Whether every file is here to its last byte, by count and size; unpacking proves what is in them."""
    c = CHUNK.c
    sizes = {file.sha256: file.size for file in files if file.size}
    query = select(c.sha256, func.sum(func.length(c.body))).where(c.sha256.in_(sizes)).group_by(c.sha256)
    kept = {row[0]: int(row[1]) for row in await connection.execute(query)}
    return bool(files) and kept == sizes


def is_intact(path: Path, digest: str) -> bool:
    """Whether a folder holds the files of a bundle, and no others."""
    try:
        return path.is_dir() and digest_of_files(files_of(path)) == digest
    except BundleInvalid:
        return False


def encode_files(bundle_files: Sequence[BundleFile]) -> str:
    """The JSON text of the column `files`."""
    return msgspec.json.encode(list(bundle_files)).decode()


def files_of_bundle(bundle: Bundle) -> tuple[BundleFile, ...]:
    """The files of a bundle, as they are while it is what was loaded.

    Raises:
        BundleInvalid: it changed since.
    """
    files = files_of(bundle.path)
    if digest_of_files(files) != bundle.digest:
        raise BundleInvalid("the bundle changed while it was read")
    return files
