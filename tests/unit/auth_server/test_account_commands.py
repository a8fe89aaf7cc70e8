"""Users, clients and keys by the command line (DESIGN §4)."""

import asyncio
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.auth.emergency.access import note_access
from server.auth.users.accounts import User
from server.auth.users.roles import Role
from server.cli import cli
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Fault

PASSWORD = "correct horse battery"
Run = Callable[..., str]


@pytest.fixture
def run(new_sqlite: Callable[[bool], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command that succeeds; returns what it prints."""
    monkeypatch.setenv("ISTHMUS_DATABASE_URL", new_sqlite(True))
    monkeypatch.setenv("ISTHMUS_DATA", str(tmp_path))
    monkeypatch.setenv("ISTHMUS_PASSWORD", PASSWORD)

    def made(*words: str) -> str:
        result = CliRunner().invoke(cli, words)
        if isinstance(result.exception, Fault):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return made


def test_users(run: Run) -> None:
    run("user", "add", "Ada", "--display", "Dr Ada")
    run("user", "add", "bob", "--role", "admin")
    assert run("user", "list") == "ada clinician Dr Ada\nbob admin bob\n"
    assert run("user", "password", "ADA") == ""
    run("user", "disable", "ada")
    assert run("user", "list").splitlines()[0] == "ada clinician Dr Ada (disabled)"
    run("user", "enable", "ADA")
    assert run("user", "list").splitlines()[0] == "ada clinician Dr Ada"
    run("user", "disable", "ada")
    for command in ("disable", "password"):
        with pytest.raises(Fault, match="no such user"):
            run("user", command, "ada")


def test_users_of_an_external_provider(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (("link", "ada"), ("add", "eve")):
        with pytest.raises(Fault, match="federation_issuer"):
            run("user", *command, "--subject", "s-1")
    for name, text in (("ISSUER", "https://login.test"), ("CLIENT_ID", "here"), ("CLIENT_SECRET", "s")):
        monkeypatch.setenv(f"ISTHMUS_FEDERATION_{name}", text)
    run("user", "add", "ada")
    run("user", "link", "ADA", "--subject", "s-1")
    monkeypatch.delenv("ISTHMUS_PASSWORD")  # would be asked for, and nobody answers
    for command in (("add", "eve"), ("link", "eve")):
        with pytest.raises(Fault, match="another user"):
            run("user", *command, "--subject", "s-1")
    with pytest.raises(Fault, match="ASCII"):
        run("user", "link", "ada", "--subject", "\u0430da")
    run("user", "unlink", "ada")
    run("user", "add", "eve", "--subject", "s-1")


def test_clients(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    added = ("client", "add", "--name", "Lab", "--scope", "system/*.rs")
    client_id = run(*added).split()[1]
    with pytest.raises(Fault, match="jwks_uri"):
        run(*added, "--jwks", "https://keys.test/jwks")  # jwks_hosts does not list it
    assert CliRunner().invoke(cli, [*added, "--jwks", str(tmp_path / "none")]).exit_code == 2
    monkeypatch.setenv("ISTHMUS_JWKS_HOSTS", '["keys.test"]')
    by_keys = run(*added, "--jwks", "https://keys.test/jwks").split()[1]
    run("client", "launching", client_id, "--allow")
    run("client", "launching", client_id, "--forbid")
    ehr = run(*added, "--may-launch").split()[1]
    run("client", "disable", ehr)
    with pytest.raises(Fault, match="acts for itself"):
        run("client", "launching", ehr, "--allow")
    run("client", "disable", client_id)
    lines = [f"{client_id} client_secret_basic Lab (disabled)", f"{by_keys} private_key_jwt Lab"]
    lines.append(f"{ehr} client_secret_basic Lab (disabled)")
    assert run("client", "list").splitlines() == lines
    with pytest.raises(Fault, match="no such client"):
        run("client", "disable", client_id)


def test_emergency_accesses(run: Run) -> None:
    run("user", "add", "ada")
    assert run("emergency", "list") == ""
    database = Database(os.environ["ISTHMUS_DATABASE_URL"])

    async def broken(unit: UnitOfWork) -> None:
        ada = User(1, "ada", "Dr Ada", Role.CLINICIAN, None, None)
        await note_access(unit, ada, "app", (1, "p1"), "She was unconscious")

    async def work() -> None:
        await database.transact(broken)
        await database.close()

    asyncio.run(work())
    listed = r"1 \S+ ada Patient/p1: She was unconscious\n"
    assert re.fullmatch(listed, run("emergency", "list"))
    run("emergency", "review", "1", "--verdict", "not-justified", "--note", "Nobody knew of it")
    assert run("emergency", "list") == ""
    assert " (not-justified by system:administrator): " in run("emergency", "list", "--all")
    with pytest.raises(Fault, match="has been reviewed"):
        run("emergency", "review", "1", "--verdict", "justified")


def test_keys_and_registration_tokens(run: Run) -> None:
    assert run("keys", "rotate").endswith(" signs in 24 hours.\n")
    assert len(run("registration-token", "--ttl", "60").strip()) == 43
    with pytest.raises(Fault, match="lifetime"):
        run("registration-token", "--ttl", "0")
