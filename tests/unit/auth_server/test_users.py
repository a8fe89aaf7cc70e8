"""Accounts and logins: names, passwords, lock-out, and what a change ends (OWASP ASVS 5 §6, §7)."""

import asyncio
from dataclasses import replace

import pytest
from argon2 import PasswordHasher, extract_parameters
from sqlalchemy import select, update

from server.auth.tables import LoginFailure, LoginSession, UserAccount
from server.auth.users import logins
from server.auth.users.accounts import (
    InvalidAccount,
    NameTaken,
    NewUser,
    add_user,
    disable_user,
    set_password,
)
from server.auth.users.logins import FREE_TRIES, KEPT_US, MAX_LOCK_US, LoginRefused, log_in
from server.auth.users.names import InvalidName
from server.auth.users.passwords import MAX_PASSWORD, MIN_PASSWORD, InvalidPassword
from server.auth.users.roles import Role
from server.auth.users.sessions import IDLE_US, MAX_US, end_session, find_session
from server.kernel.access import Principal
from server.kernel.clock import now_us
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import NotFound
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow

ADMIN = Principal("system:administrator", "administrator")
PASSWORD = "correct horse battery"
ADA = NewUser("Ada", Role.CLINICIAN, "Dr Ada", PASSWORD, "Practitioner/ada")


async def audited(database: Database, interaction: str) -> list[tuple[str, str]]:
    t = table_of(AuditRow).c
    async with database.read() as connection:
        rows = await connection.execute(select(t.principal, t.outcome).where(t.interaction == interaction))
        return [(row.principal, row.outcome) for row in rows]


async def move(database: Database, table: type, **columns: int) -> None:
    """Put instants of every row of a table back."""

    async def work(unit: UnitOfWork) -> None:
        rows = table_of(table)
        back = {name: rows.c[name] - by for name, by in columns.items()}
        await unit.execute(update(rows).values(**back))

    await database.transact(work)


@pytest.mark.parametrize("typed", ["ada", " ADA ", "\uff21da"])
async def test_a_name_is_the_same_however_it_is_written(database: Database, typed: str) -> None:
    user = await add_user(database, ADA, ADMIN)
    session = await find_session(database, await log_in(database, typed, PASSWORD), now_us())
    assert session is not None
    assert session.user == user
    assert (user.name, user.principal) == ("ada", Principal("user:ada", "Dr Ada"))


async def test_a_name_is_given_once(database: Database) -> None:
    await add_user(database, ADA, ADMIN)
    await disable_user(database, "ada", ADMIN)
    with pytest.raises(NameTaken):
        await add_user(database, replace(ADA, name="ADA"), ADMIN)


async def test_two_who_ask_for_a_name_at_once(database: Database) -> None:
    made = await asyncio.gather(*(add_user(database, ADA, ADMIN) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(each, NameTaken) for each in made) == 3


NO_ACCOUNTS: list[tuple[NewUser, type[Exception]]] = [
    (replace(ADA, name=""), InvalidName),
    (replace(ADA, name="a b"), InvalidName),
    (replace(ADA, name="x" * 101), InvalidName),
    (replace(ADA, name="ada\x00"), InvalidName),
    (replace(ADA, password="x" * (MIN_PASSWORD - 1)), InvalidPassword),
    (replace(ADA, password="x" * (MAX_PASSWORD + 1)), InvalidPassword),
    (replace(ADA, password="\ud800" * MIN_PASSWORD), InvalidPassword),
    (replace(ADA, fhir_user="https://elsewhere/Practitioner/1"), InvalidAccount),
    (replace(ADA, patient_id="p1"), InvalidAccount),
    (replace(ADA, role=Role.PATIENT), InvalidAccount),
    (replace(ADA, role=Role.PATIENT, patient_id="a/b"), InvalidAccount),
    (replace(ADA, display="Ada\n"), InvalidAccount),
]


async def test_accounts_that_cannot_be(database: Database) -> None:
    for new, fault in NO_ACCOUNTS:
        with pytest.raises(fault):
            await add_user(database, new, ADMIN)
    async with database.read() as connection:
        assert (await connection.execute(select(table_of(UserAccount)))).first() is None


async def test_fhir_user_of_a_patient_is_their_record(database: Database) -> None:
    new = NewUser("pat", Role.PATIENT, password=PASSWORD, patient_id="p1")
    assert (await add_user(database, new, ADMIN)).fhir_user == "Patient/p1"


async def test_failures_sound_the_same(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """And take as long: the one thing that takes time is done once, with the same parameters."""
    await add_user(database, ADA, ADMIN)
    await add_user(database, NewUser("external", Role.CLINICIAN), ADMIN)
    said, hashed = set(), []
    verify = PasswordHasher.verify

    def watched(hasher: PasswordHasher, password_hash: str, password: str) -> bool:
        hashed.append(extract_parameters(password_hash))
        return verify(hasher, password_hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", watched)
    for name in ("ada", "nobody", "external", "\ud800", "a\x00"):
        with pytest.raises(LoginRefused) as caught:
            await log_in(database, name, "another password")
        said.add(str(caught.value))
    assert (len(said), len(hashed), len(set(map(repr, hashed)))) == (1, 5, 1)
    expected = [("user:ada", "4"), ("anonymous", "4"), ("user:external", "4"), ("anonymous", "4")]
    assert await audited(database, "login") == [*expected, ("anonymous", "4")]


@pytest.mark.parametrize("name", ["ada", "nobody"])
async def test_a_name_is_locked_after_too_many_failures(database: Database, name: str) -> None:
    await add_user(database, ADA, ADMIN)
    attempts = (log_in(database, name, "another password") for _ in range(FREE_TRIES))
    assert {type(each) for each in await asyncio.gather(*attempts, return_exceptions=True)} == {LoginRefused}
    failures = table_of(LoginFailure)
    async with database.read() as connection:
        rows = (await connection.execute(select(failures))).all()
    assert [(row.failures, row.locked_until_us > now_us()) for row in rows].count((FREE_TRIES, True)) == 1
    with pytest.raises(LoginRefused):
        await log_in(database, name, PASSWORD)  # right, and yet too late


async def test_who_fails_elsewhere_locks_themselves_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And everybody, once they are many: the name is guessed from everywhere."""
    await add_user(database, ADA, ADMIN)
    for _ in range(FREE_TRIES + 1):
        with pytest.raises(LoginRefused):
            await log_in(database, "ada", "another password", "203.0.113.1")
    await log_in(database, "ada", PASSWORD, "192.0.2.1")
    monkeypatch.setattr(logins, "FREE_TRIES_ANYWHERE", 2 * FREE_TRIES)
    for number in range(2 * FREE_TRIES):
        with pytest.raises(LoginRefused):
            await log_in(database, "ada", "another password", f"198.51.100.{number}")
    with pytest.raises(LoginRefused):
        await log_in(database, "ada", PASSWORD, "192.0.2.1")


async def test_a_lock_ends_and_a_login_clears_it(database: Database) -> None:
    await add_user(database, ADA, ADMIN)
    for _ in range(FREE_TRIES):
        with pytest.raises(LoginRefused):
            await log_in(database, "ada", "another password")
    await move(database, LoginFailure, locked_until_us=MAX_LOCK_US)
    await log_in(database, "ada", PASSWORD)
    async with database.read() as connection:
        assert (await connection.execute(select(table_of(LoginFailure)))).first() is None


async def test_old_failures_are_forgotten(database: Database) -> None:
    with pytest.raises(LoginRefused):
        await log_in(database, "nobody", PASSWORD)
    await move(database, LoginFailure, last_us=KEPT_US)
    with pytest.raises(LoginRefused):
        await log_in(database, "somebody", PASSWORD)
    async with database.read() as connection:
        kept = (await connection.execute(select(table_of(LoginFailure)))).all()
    assert len(kept) == 2  # the second name, from there and from anywhere


@pytest.mark.parametrize("column", ["used_us", "expires_us"])
async def test_a_session_ends_by_itself(database: Database, column: str) -> None:
    await add_user(database, ADA, ADMIN)
    secret = await log_in(database, "ada", PASSWORD)
    await move(database, LoginSession, **{column: IDLE_US if column == "used_us" else MAX_US})
    assert await find_session(database, secret, now_us()) is None


async def test_use_keeps_a_session(database: Database) -> None:
    await add_user(database, ADA, ADMIN)
    secret = await log_in(database, "ada", PASSWORD)
    for _ in range(2):
        await move(database, LoginSession, used_us=IDLE_US * 2 // 3)
        assert await find_session(database, secret, now_us()) is not None


async def test_log_off(database: Database) -> None:
    await add_user(database, ADA, ADMIN)
    secret = await log_in(database, "ada", PASSWORD)
    session = await find_session(database, secret, now_us())
    assert session is not None
    for _ in range(2):
        await end_session(database, session)
    assert await find_session(database, secret, now_us()) is None
    assert await audited(database, "logout") == [("user:ada", "0")]


@pytest.mark.parametrize("change", ["password", "disable"])
async def test_a_change_ends_sessions(database: Database, change: str) -> None:
    await add_user(database, ADA, ADMIN)
    secret = await log_in(database, "ada", PASSWORD)
    if change == "password":
        await set_password(database, "Ada", "another long password", ADMIN)
    else:
        await disable_user(database, "Ada", ADMIN)
    assert await find_session(database, secret, now_us()) is None
    with pytest.raises(LoginRefused):
        await log_in(database, "ada", PASSWORD)


async def test_nobody_is_changed_who_is_not_there(database: Database) -> None:
    with pytest.raises(NotFound):
        await disable_user(database, "ada", ADMIN)


@pytest.mark.parametrize("secret", [None, "", "made up"])
async def test_no_session(database: Database, secret: str | None) -> None:
    assert await find_session(database, secret, now_us()) is None
