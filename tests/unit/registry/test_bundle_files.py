"""The kept files of bundles: versions share them, and no `add` that fails takes them away."""

from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import delete, select, update

from ai_engine.bundle import BundleInvalid, files_of
from ai_engine.tables import ModelVersion
from server.kernel.rows import table_of
from server.workflows.registry.bundle_files import CHUNK, CHUNK_BYTES, keep_files
from server.workflows.registry.unpacked import UnpackedBundles
from server.workflows.retention.prune import prune

from .conftest import Registry

_VERSION = table_of(ModelVersion)
SCRIPT = "# " + "x" * (2 * CHUNK_BYTES) + "\ndef run(*_):\n    return {}\n"


async def unpack(registry: Registry, folder: Path) -> Path:
    async with registry.database.read() as connection:
        row = (await connection.execute(select(_VERSION))).mappings().one()
    with closing(UnpackedBundles(registry.database, folder)) as unpacked:
        return await unpacked.path_of(row["name"], row["version"], row["digest"], row["files"])


async def test_failed_add_leaves_what_versions_share(registry: Registry, tmp_path: Path) -> None:
    bundle = await registry.add("1.0.0", script=SCRIPT)
    shared = next(file for file in files_of(bundle.path) if file.path == "scripts/tiny.py")
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "weights").write_text(SCRIPT + "# changed while it was read")
    with pytest.raises(BundleInvalid, match="weights changed"):
        await keep_files(registry.database, changed, [replace(shared, path="weights")])
    await unpack(registry, tmp_path / "cache")


async def test_what_a_killed_add_left_goes_after_a_day(registry: Registry, tmp_path: Path) -> None:
    bundle = await registry.add("1.0.0")
    (tmp_path / "left").mkdir()
    for name in ("old", "young"):
        (tmp_path / "left" / name).write_text(name)
    old, young = files_of(tmp_path / "left")
    await keep_files(registry.database, tmp_path / "left", [old, young])
    long_ago = update(CHUNK).where(CHUNK.c.sha256 != young.sha256).values(kept_us=1)
    await registry.database.transact(lambda unit: unit.execute(long_ago))
    assert await prune(registry.services) == 1
    expected = {file.sha256 for file in (*files_of(bundle.path), young) if file.size}
    async with registry.database.read() as connection:
        assert set((await connection.execute(select(CHUNK.c.sha256))).scalars()) == expected
    await registry.database.transact(lambda unit: unit.execute(update(CHUNK).values(kept_us=1)))
    await keep_files(registry.database, tmp_path / "left", [young])  # an `add` is under way again
    assert await prune(registry.services) == 0


async def test_adding_again_makes_good_what_was_damaged(registry: Registry, tmp_path: Path) -> None:
    bundle = await registry.add("1.0.0", script=SCRIPT)
    damaged = (
        update(CHUNK).where(CHUNK.c.number == 1).values(body=b"damaged"),
        delete(CHUNK).where(CHUNK.c.number == 0),
    )
    for number, statement in enumerate(damaged):
        await registry.database.transact(lambda unit, s=statement: unit.execute(s))  # type: ignore[misc]
        await registry.add("1.0.0", script=SCRIPT)
        path = await unpack(registry, tmp_path / f"cache-{number}")
        assert files_of(path) == files_of(bundle.path)


async def test_file_that_changes_between_its_two_readings_writes_nothing(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = await registry.add("1.0.0")
    (path,) = [file for file in files_of(bundle.path) if file.path == "scripts/tiny.py"]
    await registry.database.transact(lambda unit: unit.execute(delete(CHUNK)))
    opened = Path.open
    readings: list[Path] = []

    def open_then_change(self: Path, *args: object, **more: object) -> object:
        readings.append(self)
        if len(readings) == 2:
            self.write_text("something else")
        return opened(self, *args, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", open_then_change)
    with pytest.raises(BundleInvalid, match="changed while it was read"):
        await keep_files(registry.database, bundle.path, [path])
    async with registry.database.read() as connection:
        assert (await connection.execute(select(CHUNK.c.number))).first() is None
