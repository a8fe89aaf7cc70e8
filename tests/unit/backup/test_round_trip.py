"""What goes in comes out: every table, every value, from either database to either."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import delete, func, insert, select, text, update

from dicomweb.tables import Instance, Series
from server.auth.tables import ClientAssertionJti
from server.backup.collect import Collector
from server.backup.faults import DamagedBackup, NotBackedUp, NotRestorable
from server.backup.manifest import id_at, read_manifest, write_manifest
from server.backup.packs import PackWriter
from server.backup.repository import Place, opened, opened_or_made
from server.backup.segments import segment_name
from server.kernel.backups import last_backup_us
from server.kernel.object_removal import is_removal_held
from server.kernel.object_stores import OtherInstallation
from server.kernel.rows import table_of
from server.kernel.store_config import StoreConfig
from server.kernel.tables import AuditRow, Installation, MaintenanceHold, ObjectRemoval, OutboxEvent
from server.migrations import HEAD, current_revision, upgrade

ALL_WAYS = [(a, b) for a in ("sqlite", "postgresql") for b in ("sqlite", "postgresql")]
EITHER = [("sqlite", "sqlite"), ("postgresql", "postgresql")]
all_ways = pytest.mark.parametrize("kinds", ALL_WAYS, ids="-to-".join)
from_each_to_each = pytest.mark.parametrize(
    "kinds",
    [each if each[0] != each[1] else pytest.param(each, marks=pytest.mark.slow) for each in ALL_WAYS],
    ids="-to-".join,
)
WITH_WORD = {
    "sqlite": "SELECT count(*) FROM terminology_words WHERE terminology_words MATCH 'end'",
    "postgresql": "SELECT sum(cardinality(numbers)) FROM terminology_words WHERE word = 'end'",
}
either = pytest.mark.parametrize("kinds", EITHER, ids=lambda kinds: kinds[0])
into_nothing = pytest.mark.parametrize("target_has_schema", [False], ids=["no schema"])


@into_nothing
@all_ways
async def test_everything_comes_back_as_it_was(
    source: Any, target: Any, repository: Path, kinds: Sequence[str]
) -> None:
    await source.fill()
    before = await source.everything()
    taken = await source.back_up(repository)
    restored = await target.restore(repository, taken.id)
    assert await target.everything() == before
    assert await target.bodies() == await source.bodies()
    assert restored.instances == 3
    assert restored.rows == sum(map(len, before.values()))
    assert await current_revision(target.url) == HEAD
    found = text(WITH_WORD[kinds[1]])  # the index of words is made anew
    async with target.database.read() as connection:
        words = [row["words"].split() for row in before["terminology_concept"]]
        assert (await connection.execute(found)).scalar_one() == sum("end" in each for each in words) > 0


@from_each_to_each
async def test_numbers_of_deleted_rows_are_not_given_again(
    source: Any, target: Any, repository: Path, kinds: Sequence[str]
) -> None:
    event, audit, series = table_of(OutboxEvent), table_of(AuditRow), table_of(Series)
    await source.fill()
    await source.execute(delete(event))

    async def emit(unit: Any) -> None:
        unit.emit("test", "subject")

    for _ in range(3):
        await source.database.transact(emit)
    (_, middle, last) = [row["sequence"] for row in await source.rows(event)]
    await source.execute(delete(event).where(event.c.sequence != middle))
    await source.execute(delete(audit))
    taken = await source.back_up(repository)
    await target.restore(repository, taken.id)

    async def work(unit: Any) -> None:
        await emit(unit)
        await unit.flush()
        row = {"study_id": 1, "series_instance_uid": "1.9", "created_us": 1, "attributes": "{}"}
        await unit.execute(insert(series), [row])

    await target.database.transact(work)
    assert [row["sequence"] for row in await target.rows(event)] == [middle, last + 1]
    assert [row["id"] for row in await target.rows(series)] == [1, 2, 3, 4]


@either
async def test_second_backup_writes_only_what_is_new(
    source: Any, target: Any, repository: Path, kinds: Sequence[str]
) -> None:
    await source.fill()
    await source.store(1, bytes(1 << 20))
    first = await source.back_up(repository)
    before = files(repository)
    await source.store(2, b"\x01" * 5000)
    second = await source.back_up(repository)
    added = {name: size for name, size in files(repository).items() if name not in before}
    assert before.items() <= files(repository).items()
    assert second.manifest.new_instances == 1
    assert 5000 < second.manifest.new_bytes < 12_000  # the instance, and the segment with its row
    manifest_bytes = sum(size for name, size in added.items() if name.startswith("backups/"))
    assert sum(added.values()) - manifest_bytes == second.manifest.new_bytes
    assert second.manifest.parent == first.id
    third = await source.back_up(repository)
    assert (third.manifest.new_instances, third.manifest.new_bytes) == (0, 0)
    await target.restore(repository, first.id)
    assert hashlib.sha256((await target.bodies())[2]).digest() != hashlib.sha256(b"\x01" * 5000).digest()


def files(repository: Path) -> dict[str, int]:
    return {
        path.relative_to(repository).as_posix(): path.stat().st_size
        for path in repository.rglob("*")
        if path.is_file()
    }


@either
async def test_large_bodies_are_copied_piece_by_piece(
    source: Any, target: Any, repository: Path, kinds: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.backup.collect.LARGE_BYTES", 1500)
    monkeypatch.setattr("server.backup.refill.LARGE_BYTES", 1500)
    await source.fill()  # 1000, 2000 and 3000 bytes
    taken = await source.back_up(repository)
    await target.restore(repository, taken.id)
    assert await target.bodies() == await source.bodies()


@pytest.mark.parametrize(
    "stores",
    [
        ("local disk", "S3"),
        ("S3", "local disk"),
        ("local disk, sealed", "S3, sealed"),
        ("S3, sealed", "local disk"),
    ],
    ids=" to ".join,
)
async def test_from_any_store_to_any(
    source: Any, target: Any, repository: Path, stores: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.backup.collect.LARGE_BYTES", 2500)
    monkeypatch.setattr("server.backup.refill.LARGE_BYTES", 2500)
    await source.fill()
    bodies = await source.bodies()
    taken = await source.back_up(repository)
    await target.restore(repository, taken.id)
    assert await target.everything() == await source.everything()
    assert await target.bodies() == bodies


async def test_objects_are_sealed_where_they_are_restored(source: Any, target: Any, repository: Path) -> None:
    await source.fill()
    taken = await source.back_up(repository)
    target.config = StoreConfig(target.folder, target.config.keys, seals=True)
    await target.restore(repository, taken.id)
    assert {name.partition("/")[0] for name in await target.object_names()} == {"sealed"}
    assert await target.bodies() == await source.bodies()


async def test_store_of_another_installation_is_refused(source: Any, target: Any, repository: Path) -> None:
    """Also one whose database is gone: its objects would look orphaned to the restored one."""
    await source.fill()
    taken = await source.back_up(repository)
    target.config = source.config
    with pytest.raises(NotRestorable, match=r"store .* is not empty"):
        await target.restore(repository, taken.id)
    await target.execute(insert(table_of(Installation)).values(id=1, name="other", objects_prefix=""))
    with pytest.raises(OtherInstallation):
        await target.restore(repository, taken.id)
    assert len(await source.bodies()) == 3


async def test_backup_from_the_store_of_another_installation_is_refused(
    source: Any, target: Any, repository: Path
) -> None:
    await source.fill()
    await source.back_up(repository)
    await upgrade(target.url)
    target.objects, other = source.objects, target.objects
    with pytest.raises(OtherInstallation):
        await target.back_up(repository)
    target.objects = other


async def test_many_packs(
    source: Any, target: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PackWriter.__init__, "__defaults__", (1,))
    await source.fill()
    taken = await source.back_up(repository)
    assert len(list((repository / "bytes").glob("*.pack"))) == 3
    await target.restore(repository, taken.id)
    assert await target.bodies() == await source.bodies()


async def test_restore_refuses_a_database_with_rows(source: Any, repository: Path) -> None:
    await source.fill()
    taken = await source.back_up(repository)
    before = await source.everything()
    with pytest.raises(NotRestorable, match="not empty"):
        await source.restore(repository, taken.id)
    assert await source.everything() == before


async def test_restore_can_be_run_again_after_it_failed(
    source: Any, target: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await source.fill()
    taken = await source.back_up(repository)

    async def fail(*_: object) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("server.backup.load.set_positions", fail)
        with pytest.raises(OSError, match="power cut"):
            await target.restore(repository, taken.id)
    assert not any((await target.everything()).values())
    left = {found.name async for found in target.objects.list_objects()}
    assert left
    await target.restore(repository, taken.id)
    assert await target.everything() == await source.everything()
    assert await target.bodies() == await source.bodies()
    removal = table_of(ObjectRemoval)
    assert {row["object_name"] for row in await target.rows(removal)} == left


@either
async def test_backup_leaves_its_mark_and_no_hold(
    source: Any, repository: Path, kinds: Sequence[str]
) -> None:
    async def held() -> int:
        async with source.database.read() as connection:
            return int(
                (
                    await connection.execute(select(func.count()).select_from(table_of(MaintenanceHold)))
                ).scalar_one()
            )

    async def last() -> int | None:
        async with source.database.read() as connection:
            return await last_backup_us(connection)

    assert await last() is None
    taken = await source.back_up(repository)
    assert await last() == taken.manifest.finished_us
    assert await held() == 0


async def test_nothing_is_removed_while_a_backup_runs(
    source: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    collect = Collector.collect

    async def look(self: Any, *arguments: Any) -> None:
        async with source.database.read() as connection:
            held.append(await is_removal_held(connection, await source.database._clock(connection)))
        await collect(self, *arguments)

    monkeypatch.setattr(Collector, "collect", look)
    await source.back_up(repository)
    assert held == [True]


@either
async def test_instance_that_was_moved_meanwhile_is_found(
    source: Any, target: Any, repository: Path, kinds: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await source.fill()
    bodies = await source.bodies()
    collect = Collector.collect

    async def move(self: Any, *arguments: Any) -> None:
        shutil.move(source.folder / "journal", source.folder / "gone")
        (source.folder / "journal").mkdir()
        source.objects.inner._files.close()
        source.objects.inner._journal = None
        for number, body in bodies.items():
            await source.store(number, body)
        await collect(self, *arguments)

    monkeypatch.setattr(Collector, "collect", move)
    taken = await source.back_up(repository)
    assert not taken.manifest.damaged
    await target.restore(repository, taken.id)
    assert await target.bodies() == bodies


async def test_damaged_instance_is_named_and_the_rest_is_backed_up(
    source: Any, target: Any, repository: Path
) -> None:
    await source.fill()
    bodies = await source.bodies()
    damage(source.folder / "journal", bodies[2])
    taken = await source.back_up(repository)
    uid = (await source.everything())["instance"][1]["sop_instance_uid"]
    assert [each.sop_instance_uid for each in taken.manifest.damaged] == [uid]
    restored = await target.restore(repository, taken.id)
    assert restored.lost == [uid]
    assert await target.everything() == await source.everything()


async def test_wrong_store_is_no_backup(
    source: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.backup.collect.MAX_DAMAGED", 2)
    await source.fill()
    shutil.rmtree(source.folder / "journal")
    source.objects.inner._files.close()
    with pytest.raises(NotBackedUp, match="another one"):
        await source.back_up(repository)
    assert list((repository / "backups").glob("*")) == []


def damage(folder: Path, body: bytes) -> None:
    """Flip a bit of this body in whichever file of the folder it is."""
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        if (at := content.find(body)) >= 0:
            path.write_bytes(content[:at] + bytes([body[0] ^ 1]) + content[at + 1 :])
            return
    raise AssertionError("not found")


async def test_salvage_restores_the_rest(source: Any, target: Any, repository: Path) -> None:
    await source.fill()
    bodies = await source.bodies()
    taken = await source.back_up(repository)
    damage(repository / "bytes", bodies[2])
    uid = (await source.everything())["instance"][1]["sop_instance_uid"]
    with pytest.raises(DamagedBackup, match=uid.split("\r")[0][:1]):
        await target.restore(repository, taken.id)
    assert not any((await target.everything()).values())
    restored = await target.restore(repository, taken.id, salvage=True)
    assert restored.lost == [uid]
    assert await target.everything() == await source.everything()


@into_nothing
async def test_backup_of_a_newer_release_is_refused(
    source: Any, target: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.backup.take.HEAD", "9999")
    taken = await source.back_up(repository)
    with pytest.raises(NotRestorable, match="newer release"):
        await target.restore(repository, taken.id)


@into_nothing
@from_each_to_each
async def test_backup_of_an_older_schema_is_brought_up_to_date(
    source: Any, target: Any, repository: Path, kinds: Sequence[str]
) -> None:
    jti = table_of(ClientAssertionJti)  # as it was then, unlike most tables
    row = {"issuer": "ehr", "jti": "1", "expires_us": 5}
    await source.database.transact(lambda unit: unit.execute(insert(jti).values(row)))
    await source.back_up(repository)
    with opened_or_made(Place(repository)) as there:
        manifest = read_manifest(there, id_at(there, None))
        old = tuple(each for each in manifest.tables if each.name in (jti.name, "instance"))
        older = write_manifest(there, replace(manifest, revision="0005", tables=old))
    await target.restore(repository, older)
    assert await current_revision(target.url) == HEAD
    async with target.database.read() as connection:
        assert (await connection.execute(select(jti.c.issuer, jti.c.jti, jti.c.expires_us))).one() == (
            "ehr",
            "1",
            5,
        )


@into_nothing
async def test_missing_rows_are_named_before_anything_is_written(
    source: Any, target: Any, repository: Path
) -> None:
    await source.fill()
    taken = await source.back_up(repository)
    label = taken.manifest.table("study").segments[0]
    (repository / segment_name(label)).unlink()
    with pytest.raises(DamagedBackup, match=f"{label} is missing: rows of table study"):
        await target.restore(repository, taken.id, salvage=True)
    assert await current_revision(target.url) is None


async def test_manifest_that_was_changed_is_refused(source: Any, repository: Path) -> None:
    taken = await source.back_up(repository)
    path = repository / "backups" / f"{taken.id}.json"
    path.write_bytes(path.read_bytes().replace(b'"instances": 0', b'"instances": 1'))
    with opened(Place(repository), alone=False) as there, pytest.raises(DamagedBackup, match=taken.id):
        read_manifest(there, taken.id)


@into_nothing
@pytest.mark.parametrize(
    "crafted", [{"name": "instance; DROP TABLE study"}, {"columns": ("id", "label FROM label; --")}]
)
async def test_table_that_is_not_ours_is_refused(
    source: Any, target: Any, repository: Path, crafted: dict[str, Any]
) -> None:
    await source.fill()
    await source.back_up(repository)
    with opened_or_made(Place(repository)) as there:
        manifest = read_manifest(there, id_at(there, None))
        first, *others = manifest.tables
        backup = write_manifest(there, replace(manifest, tables=(replace(first, **crafted), *others)))
    with pytest.raises(DamagedBackup, match="does not know"):
        await target.restore(repository, backup)
    assert await current_revision(target.url) is None


async def test_lost_instance_that_names_a_foreign_file_is_refused(
    source: Any, target: Any, repository: Path
) -> None:
    instance = table_of(Instance)
    await source.fill()
    crafted = update(instance).where(instance.c.id == 2).values(object_name="../../etc/passwd")
    await source.database.transact(lambda unit: unit.execute(crafted))
    taken = await source.back_up(repository)
    with pytest.raises(DamagedBackup, match="no server of ours"):
        await target.restore(repository, taken.id, salvage=True)
