"""Bundles on a machine: several workers share them, and what nobody needs goes."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import select

from ai_engine.bundle import files_of
from ai_engine.tables import ModelVersion
from server.cli.models import open_models
from server.kernel.rows import table_of
from server.settings import Settings
from server.workflows.registry.bundle_files import is_intact
from server.workflows.registry.stages import Stage
from server.workflows.registry.unpacked import REMNANT_S, UnpackedBundles
from tests.conftest import sqlite_first

from .conftest import Registry

_VERSION = table_of(ModelVersion)
pytestmark = sqlite_first


@pytest.fixture
def caches(registry: Registry, tmp_path: Path) -> Iterator[list[UnpackedBundles]]:
    """What three workers of one machine have."""
    with ExitStack() as stack:
        shared = tmp_path / "cache"
        yield [stack.enter_context(closing(UnpackedBundles(registry.database, shared))) for _ in range(3)]


async def path_in(unpacked: UnpackedBundles, version: str) -> Path:
    async with unpacked.database.read() as connection:
        query = select(_VERSION).where(_VERSION.c.version == version)
        row = (await connection.execute(query)).mappings().one()
    return await unpacked.path_of(row["name"], row["version"], row["digest"], row["files"])


async def test_workers_that_find_a_folder_damaged_mend_it_once(
    registry: Registry, caches: list[UnpackedBundles]
) -> None:
    bundle = await registry.add("1.0.0")
    path = await path_in(caches[0], "1.0.0")
    (path / "scripts/tiny.py").write_text("damaged")
    assert await asyncio.gather(*(path_in(worker, "1.0.0") for worker in caches)) == [path] * 3
    assert files_of(path) == files_of(bundle.path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]  # nothing is left lying about


async def test_who_comes_second_leaves_what_is_good(
    registry: Registry, caches: list[UnpackedBundles]
) -> None:
    bundle, unpacked = await registry.add("1.0.0"), caches[0]
    path = await path_in(unpacked, "1.0.0")
    was = path.stat().st_ino
    fresh = path.parent / ".unpacking-late"
    fresh.mkdir()
    unpacked._put_in_place(fresh, path, bundle.digest)
    assert (path.stat().st_ino, is_intact(path, bundle.digest)) == (was, True)


async def test_what_nobody_needs_is_removed(registry: Registry, caches: list[UnpackedBundles]) -> None:
    for version in ("1.0.0", "2.0.0"):
        await registry.add(version)
        await registry.promote(version, Stage.PRODUCTION)
    first, second, _ = caches
    retired, serving = await path_in(first, "1.0.0"), await path_in(second, "2.0.0")
    killed, at_work = retired.parent / ".unpacking-killed", retired.parent / ".unpacking-at-work"
    for remnant in (killed, at_work):
        remnant.mkdir()
    os.utime(killed, (0, killed.stat().st_mtime - REMNANT_S - 1))
    await second.sweep()
    assert retired.is_dir()  # a worker still holds it
    first.close()
    await second.sweep()
    left = {each.name for each in retired.parent.iterdir()}
    assert left == {serving.name, at_work.name}


async def test_what_other_workers_remove_meanwhile_disturbs_no_sweep(
    registry: Registry, caches: list[UnpackedBundles]
) -> None:
    for version in ("1.0.0", "2.0.0"):
        await registry.add(version)
        await registry.promote(version, Stage.PRODUCTION)
    retired = await path_in(caches[0], "1.0.0")
    caches[0].close()
    gone = retired.parent / ".unpacking-gone"
    gone.symlink_to("removed")  # it is listed, and there is nothing to look at
    await path_in(caches[1], "2.0.0")
    assert not retired.exists()


async def test_sweep_that_fails_fails_no_analysis(
    registry: Registry, caches: list[UnpackedBundles], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    bundle = await registry.add("1.0.0")
    monkeypatch.setattr(UnpackedBundles, "_remove_but", refuse)
    assert files_of(await path_in(caches[0], "1.0.0")) == files_of(bundle.path)


async def test_lock_of_another_account_needs_only_reading(
    registry: Registry, caches: list[UnpackedBundles]
) -> None:
    await registry.add("1.0.0")
    await path_in(caches[0], "1.0.0")
    (held,) = caches[0]._held.values()
    assert fcntl.fcntl(held, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY


async def test_evaluation_leaves_nothing_in_the_data_folder(registry: Registry, tmp_path: Path) -> None:
    """Whoever runs it may be another account than the worker's."""
    bundle, settings = await registry.add("1.0.0"), Settings(data=tmp_path / "data")
    async with open_models(settings, registry.database) as models:
        path = await path_in(models.unpacked, "1.0.0")
        assert files_of(path) == files_of(bundle.path)
    assert not path.exists()
    assert not (settings.data / "models").exists()


async def test_what_the_server_did_not_unpack_stays(
    registry: Registry, caches: list[UnpackedBundles], tmp_path: Path
) -> None:
    mine = tmp_path / "cache" / "my-own-bundle" / "configs"
    mine.mkdir(parents=True)
    await registry.add("1.0.0")
    await path_in(caches[0], "1.0.0")
    await caches[1].sweep()
    assert mine.is_dir()
