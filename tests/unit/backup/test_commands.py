"""What the commands say, and with which exit code they end."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from server.backup.cipher import KeyDerivation
from server.backup.commands import back_up
from server.backup.faults import NotABackup, NotBackedUp, WrongKey
from server.cli import cli
from server.kernel.faults import Fault
from server.kernel.object_stores import open_store
from server.settings import Settings

Run = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def cheap_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.backup.repository.KeyDerivation", lambda salt: KeyDerivation(salt, n=1 << 4))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command here; returns exit code and output. A fault is raised."""
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, list(words))
        if isinstance(result.exception, Fault):
            raise result.exception
        return result.exit_code, result.output

    return invoke


def test_there_and_back(run: Run) -> None:
    run("db", "upgrade", "--data", "one")
    code, said = run("backup", "backups", "--data", "one")
    assert code == 0
    backup_id = said.split()[-1]
    between = datetime.now(UTC).isoformat()
    run("backup", "backups", "--data", "one")
    assert run("backup", "list", "backups")[1].split()[0] == backup_id
    assert run("backup", "verify", "backups") == (0, "2 backups are whole\n")
    assert backup_id in run("restore", "backups", "--at", between, "--data", "two")[1]
    assert backup_id in run("restore", "backups", "--backup", backup_id, "--data", "three")[1]
    assert run("backup", "prune", "backups", "--keep", "1")[1].startswith("1 backups removed")
    assert backup_id not in run("backup", "list", "backups")[1]


def test_word_of_a_command_is_not_a_folder(run: Run) -> None:
    with pytest.raises(NotABackup, match="here is no repository"):
        run("backup", "list", "here")


def test_nothing_to_back_up(run: Run, tmp_path: Path) -> None:
    with pytest.raises(NotBackedUp, match="nothing to back up"):
        run("backup", "backups", "--data", "one")
    assert list(tmp_path.iterdir()) == []


def test_damage_ends_with_1(run: Run, tmp_path: Path) -> None:
    run("token", "--scope", "system/*.rs", "--data", "one")
    run("backup", "backups", "--data", "one")
    next(path for path in (tmp_path / "backups/rows").rglob("*") if path.is_file()).unlink()
    code, said = run("backup", "verify", "backups")
    assert code == 1
    assert "is missing" in said


def test_key_from_a_file_and_from_the_environment(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("a passphrase in a file\n")
    run("db", "upgrade", "--data", "one")
    run("backup", "backups", "--key-file", "key", "--data", "one")
    with pytest.raises(WrongKey):
        run("backup", "list", "backups")
    monkeypatch.setenv("ISTHMUS_BACKUP_KEY_FILE", str(tmp_path / "key"))
    assert run("backup", "verify", "backups")[0] == 0
    assert run("restore", "backups", "--data", "two")[0] == 0


def test_folder_that_cannot_be_written_is_a_fault(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run("db", "upgrade", "--data", "one")
    with pytest.raises(Fault, match=r"^file: "):
        run("backup", "file/backups", "--data", "one")


async def test_plain_backup_of_a_sealed_store_is_to_be_asked_for(source: Any, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", database_url=source.url, encrypt_objects=True)
    await source.objects.close()
    source.objects = open_store(settings.objects)
    await source.fill()
    with pytest.raises(NotBackedUp, match="--plain"):
        await back_up(settings, tmp_path / "refused")
    assert (await back_up(settings, tmp_path / "plain", plain=True)).passed
    keyed = settings.model_copy(update={"backup_key": "a passphrase of tests"})
    assert (await back_up(keyed, tmp_path / "encrypted")).passed
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01"])
def test_time_that_is_none_is_refused(run: Run, text: str) -> None:
    run("db", "upgrade", "--data", "one")
    run("backup", "backups", "--data", "one")
    with pytest.raises(NotABackup, match="no instant"):
        run("restore", "backups", "--at", text, "--data", "two")
