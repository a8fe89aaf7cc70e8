"""Verify names what is damaged; prune takes only what nobody needs."""

from pathlib import Path
from typing import Any

import pytest

from server.backup.faults import NotABackup
from server.backup.manifest import backup_ids, id_at
from server.backup.packs import PackWriter
from server.backup.progress import say_nothing
from server.backup.prune import prune_backups
from server.backup.repository import Place, opened
from server.backup.verify import verify_backups
from server.kernel.clock import SECOND_US


def verified(root: Path) -> list[str]:
    with opened(Place(root), alone=False) as repository:
        return verify_backups(repository, backup_ids(repository), say_nothing)


def pruned(root: Path, keep: int) -> int:
    with opened(Place(root), alone=True) as repository:
        return prune_backups(repository, keep, say_nothing).freed_bytes


def files(root: Path, folder: str) -> list[Path]:
    return sorted(path for path in (root / folder).rglob("*") if path.is_file())


async def test_verify_is_content_with_what_was_written(source: Any, repository: Path) -> None:
    await source.fill()
    await source.back_up(repository)
    assert verified(repository) == []


@pytest.mark.parametrize("folder", ["rows", "bytes", "backups"])
@pytest.mark.parametrize("how", ["a bit flipped", "the end cut off", "missing"])
async def test_verify_names_what_is_damaged(source: Any, repository: Path, folder: str, how: str) -> None:
    await source.fill()
    await source.back_up(repository)
    for path in files(repository, folder):
        content = path.read_bytes()
        if how == "missing":
            path.unlink()
        elif how == "the end cut off":
            path.write_bytes(content[:-1])
        else:
            middle = len(content) // 2
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        problems = verified(repository)
        if folder == "backups" and how == "missing":  # nobody can miss it
            assert problems == []
        else:
            assert problems, path
        if path.suffix not in (".index", ".json"):
            named = [path.name, path.stem, "the bytes of instance"]
            assert any(name in problem for problem in problems for name in named)
        path.write_bytes(content)
    assert verified(repository) == []


async def test_prune_keeps_what_the_newest_needs(source: Any, target: Any, repository: Path) -> None:
    await source.fill()
    first = await source.back_up(repository)
    await source.store(1, b"other" * 3000)
    last = await source.back_up(repository)
    before = {path: path.stat().st_size for path in files(repository, ".")}
    freed = pruned(repository, 1)
    after = {path: path.stat().st_size for path in files(repository, ".")}
    assert freed == sum(before.values()) - sum(after.values()) > 0
    with opened(Place(repository), alone=False) as there:
        assert backup_ids(there) == [last.id]
    assert first.id != last.id
    assert verified(repository) == []
    await target.restore(repository, last.id)
    assert await target.everything() == await source.everything()
    assert await target.bodies() == await source.bodies()


async def test_prune_writes_packs_anew_that_are_hardly_needed(
    source: Any, target: Any, repository: Path
) -> None:
    await source.fill()
    await source.back_up(repository)
    old = set(files(repository, "bytes"))
    for number in (2, 3):  # 5000 of 6000 bytes
        await source.store(number, bytes([number]) * 10)
    last = await source.back_up(repository)
    pruned(repository, 1)
    assert old.isdisjoint(files(repository, "bytes"))
    assert sum(path.stat().st_size for path in files(repository, "bytes")) < 1500
    await target.restore(repository, last.id)
    assert await target.bodies() == await source.bodies()


async def test_prune_that_keeps_all_removes_nothing(source: Any, repository: Path) -> None:
    await source.fill()
    await source.back_up(repository)
    await source.back_up(repository)
    before = files(repository, ".")
    assert pruned(repository, 2) == 0
    assert files(repository, ".") == before


async def test_the_newest_backup_of_a_time_is_found(source: Any, repository: Path) -> None:
    first = await source.back_up(repository)
    second = await source.back_up(repository)
    with opened(Place(repository), alone=False) as there:
        assert id_at(there, None) == second.id
        assert id_at(there, second.manifest.snapshot_us) == second.id
        assert id_at(there, second.manifest.snapshot_us - 1) == first.id
        assert id_at(there, first.manifest.snapshot_us) == first.id
        with pytest.raises(NotABackup):
            id_at(there, first.manifest.snapshot_us - SECOND_US)


async def test_encrypted_round_trip(source: Any, target: Any, repository: Path) -> None:
    await source.fill()
    bodies = await source.bodies()
    taken = await source.back_up(repository, "correct horse battery")
    for path in files(repository, "."):
        assert not any(body[:64] in path.read_bytes() for body in bodies.values())
    await target.restore(repository, taken.id, "correct horse battery")
    assert await target.everything() == await source.everything()
    assert await target.bodies() == bodies


async def test_killed_between_packs_is_gone_on_with(
    source: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PackWriter.__init__, "__defaults__", (1,))
    await source.fill()

    def fail(*_: object) -> str:
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("server.backup.take.write_manifest", fail)
        with pytest.raises(OSError, match="power cut"):
            await source.back_up(repository)
    assert files(repository, "backups") == []
    taken = await source.back_up(repository)
    assert (taken.manifest.new_instances, taken.manifest.new_bytes) == (0, 0)
    assert verified(repository) == []
