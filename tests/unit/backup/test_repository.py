"""The folder: whose it is, who may work on it, what interrupted work leaves."""

import errno
import os
from pathlib import Path

import msgspec
import pytest

from server.backup.cipher import KeyDerivation
from server.backup.faults import DamagedBackup, NotABackup, RepositoryInUse, WrongKey
from server.backup.packs import PackWriter, pack_ids, remove_incomplete
from server.backup.repository import Place, opened, opened_or_made


@pytest.fixture(autouse=True)
def cheap_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """scrypt as good as instant: its cost is not what is tested here."""
    monkeypatch.setattr("server.backup.repository.KeyDerivation", lambda salt: KeyDerivation(salt, n=1 << 4))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "somewhere" / "backups"


def test_is_made_once(root: Path) -> None:
    with opened_or_made(Place(root)) as made:
        first = made.id
    with opened_or_made(Place(root)) as again, pytest.raises(RepositoryInUse), opened_or_made(Place(root)):
        pass
    assert again.id == first


def test_foreign_folder_is_left_alone(root: Path) -> None:
    root.mkdir(parents=True)
    (root / "letter.txt").write_text("mine")
    with pytest.raises(NotABackup), opened_or_made(Place(root)):
        pass
    with pytest.raises(NotABackup), opened(Place(root), alone=False):
        pass
    assert [path.name for path in root.iterdir()] == ["letter.txt"]


def test_second_writer_is_refused_readers_share(root: Path) -> None:
    with opened_or_made(Place(root)):
        with pytest.raises(RepositoryInUse), opened_or_made(Place(root)):
            pass
        with pytest.raises(RepositoryInUse), opened(Place(root), alone=False):
            pass
    with (
        opened(Place(root), alone=False),
        opened(Place(root), alone=False),
        pytest.raises(RepositoryInUse),
        opened_or_made(Place(root)),
    ):
        pass


def test_what_cannot_be_written_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened_or_made(Place(root)) as repository:
        repository.write("rows/a", b"row")

    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, flags, mode)

    real = os.open
    monkeypatch.setattr("server.backup.repository.os.open", refuse)  # as on a mount that is read-only
    with opened(Place(root), alone=False) as repository:
        assert repository.read("rows/a") == b"row"
    with pytest.raises(OSError, match="Read-only"), opened_or_made(Place(root)):
        pass


def test_file_that_was_not_finished_is_not_there(root: Path) -> None:
    with opened_or_made(Place(root)) as repository:

        def write_half() -> None:
            with repository.create("rows/a") as writer:
                writer.write(b"half")
                raise OSError("full")

        with pytest.raises(OSError, match="full"):
            write_half()
        assert not repository.exists("rows/a")
        assert repository.names("incoming") == []


def test_what_a_killed_backup_left_is_cleared(root: Path) -> None:
    with opened_or_made(Place(root)) as repository:
        with PackWriter(repository) as packs:
            packs.add(bytes(32), b"whole")
        (root / "incoming" / "draft").write_bytes(b"half")
        (root / "bytes" / "0.pack").write_bytes(b"without an index")
    with opened_or_made(Place(root)) as repository:
        remove_incomplete(repository)
        assert list((root / "incoming").iterdir()) == []
        assert repository.names("bytes") == [
            f"bytes/{pack_ids(repository)[0]}{ending}" for ending in (".index", ".pack")
        ]


def test_encrypted_tells_nothing_without_the_key(root: Path) -> None:
    with opened_or_made(Place(root, "correct horse battery")) as repository:
        repository.write("rows/a", b"patient's name")
        label = repository.label(b"patient's name")
    assert b"patient" not in (root / "rows/a").read_bytes()
    with opened(Place(root, "correct horse battery"), alone=False) as repository:
        assert repository.read("rows/a") == b"patient's name"
    for wrong, said in (("battery horse correct", "not the key"), (None, "needed")):
        with pytest.raises(WrongKey, match=said), opened(Place(root, wrong), alone=False):
            pass
    with opened_or_made(Place(root.parent / "other", "correct horse battery")) as other:
        assert other.label(b"patient's name") != label


def test_key_for_plain_backups_is_refused(root: Path) -> None:
    with opened_or_made(Place(root)):
        pass
    with pytest.raises(WrongKey, match="not encrypted"), opened_or_made(Place(root, "some passphrase")):
        pass


def test_newer_format_and_damaged_description_are_refused(root: Path) -> None:
    with opened_or_made(Place(root)):
        pass
    description = root / "repository.json"
    known = msgspec.json.decode(description.read_bytes())
    description.write_bytes(msgspec.json.encode({**known, "format": 2}))
    with pytest.raises(NotABackup, match="newer format"), opened(Place(root), alone=False):
        pass
    description.write_bytes(b"{")
    with pytest.raises(DamagedBackup), opened(Place(root), alone=False):
        pass
