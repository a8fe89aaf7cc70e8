"""The audit trail under seals: whatever is done to it behind the server's back, `verify` names it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

import pytest
from sqlalchemy import delete, insert, select, text, update
from structlog.testing import capture_logs

from server.administration import NotUsable, verify_audit
from server.audit import chain as chains
from server.audit import check as checks
from server.audit import verify as verifying
from server.audit import witness
from server.audit.chain import DamagedChain, let_go, seal_before, seal_settled
from server.audit.check import Checked, audit_facts, check_newest, check_whole
from server.audit.seal import SEALS, digest_entry
from server.audit.tables import AuditChain, AuditCheck, AuditSeal
from server.audit.verify import Noted, Verdict, describe, parse_noted, verify_trail
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import now_us
from server.kernel.database import Database, UnitOfWork
from server.kernel.envelope import Keyring
from server.kernel.retention_policy import RetentionPolicy
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import AuditRow
from server.settings import Settings
from server.workflows.retention.due import DAY_US
from server.workflows.retention.prune import prune

KEYS = Keyring(b"k" * 32)
AUDIT, SEAL, CHAIN = table_of(AuditRow), table_of(AuditSeal), table_of(AuditChain)
CHECK = table_of(AuditCheck)
ENTRY = AuditEntry(Principal("client:a", "A"), Action.READ, "read", "Patient", "ada", "ada")
LATER_US = 3600_000_000


async def change(database: Database, *statements: object) -> None:
    for each in statements:
        await database.transact(lambda unit, each=each: unit.execute(each))  # type: ignore[misc]


async def seal(database: Database, keys: Keyring = KEYS) -> int:
    return await seal_before(database, keys, now_us() + LATER_US)


async def verify(database: Database, noted: Noted | None = None, keys: Keyring = KEYS) -> Verdict:
    return await verify_trail(database, keys, noted)


async def keys_of(database: Database) -> list[tuple[int, int]]:
    async with database.read() as connection:
        rows = await connection.execute(
            select(AUDIT.c.recorded_us, AUDIT.c.sequence).order_by(AUDIT.c.recorded_us, AUDIT.c.sequence)
        )
        return [(row.recorded_us, row.sequence) for row in rows]


@pytest.fixture
async def sealed(database: Database) -> Database:
    """Nine entries under three seals, and one that is not sealed."""
    for _ in range(3):
        await database.record([ENTRY] * 3)
        assert await seal(database) == 3
    await database.record([ENTRY])
    return database


async def test_a_trail_that_nobody_touched(sealed: Database) -> None:
    verdict = await verify(sealed)
    assert (verdict.finding, verdict.seals, verdict.entries, verdict.unsealed) == (None, 3, 9, 1)
    assert describe(verdict)[-1] == "The trail is as it was sealed."
    assert verdict.unsealed_since_us == (await keys_of(sealed))[-1][0]


async def test_what_retention_takes_while_a_seal_is_made_stays_taken(
    sealed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seal has read the end of the chain and waits for its turn; retention goes first."""
    until_us = (await keys_of(sealed))[3][0]
    transact = sealed.transact

    async def after_retention(work: Callable[[UnitOfWork], Awaitable[int]]) -> int:
        monkeypatch.setattr(sealed, "transact", transact)
        await transact(lambda unit: let_go(unit, KEYS, until_us))
        await change(sealed, delete(AUDIT).where(AUDIT.c.recorded_us < until_us))
        return await transact(work)

    monkeypatch.setattr(sealed, "transact", after_retention)
    assert await seal(sealed) == 1
    verdict = await verify(sealed)
    assert (verdict.finding, verdict.seals) == (None, 3)  # of four, the first is gone


async def test_nothing_sealed_yet(database: Database) -> None:
    await database.record([ENTRY])
    verdict = await verify(database)
    assert (verdict.finding, verdict.seals, verdict.unsealed) == (None, 0, 1)
    assert describe(verdict)[-1].startswith("There is no chain")


Tamper = Callable[[Database, list[tuple[int, int]]], Awaitable[None]]


async def _change_one(database: Database, keys: list[tuple[int, int]]) -> None:
    await change(database, update(AUDIT).where(AUDIT.c.sequence == keys[4][1]).values(principal="client:b"))


async def _remove_one(database: Database, keys: list[tuple[int, int]]) -> None:
    await change(database, delete(AUDIT).where(AUDIT.c.sequence == keys[4][1]))


async def _remove_last(database: Database, keys: list[tuple[int, int]]) -> None:
    await change(database, delete(AUDIT).where(AUDIT.c.sequence >= keys[8][1]))


async def _add_one(database: Database, keys: list[tuple[int, int]]) -> None:
    row = {**ENTRY.as_row(keys[4][0]), "sequence": 1000}
    await change(database, insert(AUDIT).values(row))


async def _swap_two(database: Database, keys: list[tuple[int, int]]) -> None:
    mark = AUDIT.c.sequence
    one, other = keys[3][1], keys[4][1]
    await change(
        database,
        update(AUDIT).where(mark == one).values(sequence=5000, resource_id="ben"),
        update(AUDIT).where(mark == other).values(sequence=one),
        update(AUDIT).where(mark == 5000).values(sequence=other),
    )


@pytest.mark.parametrize(
    ("tamper", "finding"),
    [
        pytest.param(_change_one, "Entry {4} of {when} was changed.", id="changed"),
        pytest.param(_remove_one, "Entry {4} of {when} was removed.", id="removed"),
        pytest.param(_remove_last, "Entry {8} of {when} was removed.", id="last removed"),
        pytest.param(_add_one, "was added.", id="added"),
        pytest.param(_swap_two, "Entry {4} of {when} was changed.", id="two in another order"),
    ],
)
async def test_an_entry_is_named(sealed: Database, tamper: Tamper, finding: str) -> None:
    keys = await keys_of(sealed)
    await tamper(sealed, keys)
    said = (await verify(sealed)).finding or ""
    assert said.startswith("Entry ")
    for part in finding.format(*(f"{us}-{sequence}" for us, sequence in keys), when="|").split("|"):
        assert part in said


async def _reset_end(database: Database, last: int) -> None:
    """Cut the seals after one, and have the row of the chain say that this was the last."""
    async with database.read() as connection:
        row = (await connection.execute(select(SEAL).where(SEAL.c.number == last))).one()
    end = {"last": last, "to_us": row.to_us, "to_sequence": row.to_sequence, "head": row.mac}
    await change(database, delete(SEAL).where(SEAL.c.number > last), update(CHAIN).values(end))


@pytest.mark.parametrize(
    ("statements", "finding"),
    [
        pytest.param([delete(SEAL).where(SEAL.c.number == 2)], "Seal 2 is gone.", id="a seal"),
        pytest.param([delete(SEAL).where(SEAL.c.number == 3)], "Seal 3 is gone.", id="the tail of seals"),
        pytest.param([delete(SEAL).where(SEAL.c.number == 1)], "Seal 1 is gone.", id="the first seal"),
        pytest.param(
            [update(SEAL).where(SEAL.c.number == 2).values(sealed_us=5)], "Seal 2 was ch", id="changed"
        ),
        pytest.param(
            [
                update(SEAL).where(SEAL.c.number == 2).values(number=9),
                update(SEAL).where(SEAL.c.number == 3).values(number=2),
                update(SEAL).where(SEAL.c.number == 9).values(number=3),
            ],
            "Seal 2 was changed",
            id="in another order",
        ),
        pytest.param([update(CHAIN).values(first=2)], "The row", id="where it begins"),
        pytest.param([update(CHAIN).values(kept_us=now_us())], "The row", id="what retention took"),
        pytest.param([delete(CHAIN)], "The row", id="the row of the chain"),
    ],
)
async def test_seals_are_missed(sealed: Database, statements: list[object], finding: str) -> None:
    await change(sealed, *statements)
    assert (await verify(sealed)).finding.startswith(finding)  # type: ignore[union-attr]


async def test_end_of_the_chain_is_not_taken_over_once_it_was_changed(sealed: Database) -> None:
    await _reset_end(sealed, 2)
    with pytest.raises(DamagedChain):
        await seal(sealed)
    assert ((await verify(sealed)).finding or "").startswith("The row")
    await change(sealed, delete(CHAIN))
    with pytest.raises(DamagedChain):
        await seal(sealed)
    with pytest.raises(DamagedChain):
        await sealed.transact(lambda unit: let_go(unit, KEYS, now_us()))


async def test_cut_tail_of_seals_stays_missed_when_it_goes_on(sealed: Database) -> None:
    await change(sealed, delete(SEAL).where(SEAL.c.number == 3))
    assert await seal(sealed) == 1
    assert (await verify(sealed)).finding == "Seal 3 is gone."


async def test_noted_seal_finds_a_database_that_was_put_back(sealed: Database) -> None:
    before = (await verify(sealed)).chain
    assert before is not None
    noted = parse_noted(f"{before.last}:{before.head.hex()}")
    assert noted == Noted(3, before.head)
    assert (await verify(sealed, noted)).finding is None
    await change(sealed, delete(SEAL), delete(CHAIN), delete(AUDIT).where(AUDIT.c.recorded_us < before.to_us))
    assert "noted" in ((await verify(sealed, noted)).finding or "")
    assert await seal(sealed) > 0  # a chain of its own
    assert (await verify(sealed)).finding is None
    assert "noted" in ((await verify(sealed, noted)).finding or "")


@pytest.mark.parametrize("seen", ["", "3", "3:ab", "x:" + "0" * 64, "3:" + "0" * 63])
def test_what_is_no_seal(seen: str) -> None:
    assert parse_noted(seen) is None


async def test_keys_change_and_old_seals_stay_good(sealed: Database) -> None:
    changed = Keyring(b"n" * 32, [b"k" * 32])
    assert await seal(sealed, changed) == 1
    assert (await verify(sealed, keys=changed)).finding is None
    lost = await verify(sealed, keys=Keyring(b"n" * 32))
    assert lost.finding == "Seal 1 was changed, or its key is unknown."
    forged = Keyring(b"f" * 32)
    await sealed.record([ENTRY])
    with pytest.raises(DamagedChain):
        await seal(sealed, forged)


def test_column_without_a_value_does_not_change_a_digest() -> None:
    row = ENTRY.as_row(1)
    assert digest_entry(row) == digest_entry({**row, "added_later": None})
    assert digest_entry(row) != digest_entry({**row, "outcome": "8"})


async def test_only_what_is_settled_is_sealed(database: Database) -> None:
    await database.record([ENTRY])
    assert await seal_settled(database, KEYS) == 0
    assert (await verify(database)).unsealed == 1
    await change(database, update(AUDIT).values(recorded_us=now_us() - 2 * chains.SETTLE_US))
    assert await seal_settled(database, KEYS) == 0  # less than a whole seal: that was all
    assert (await verify(database)).unsealed == 0


@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
async def test_what_a_transaction_under_way_may_write_is_waited_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "SETTLE_US", 0)

    async def work(unit: object) -> None:
        unit.audit(ENTRY)  # type: ignore[attr-defined]
        await unit.execute(text("SELECT pg_current_xact_id()"))  # type: ignore[attr-defined]
        await database.record([ENTRY])  # later, and seen before
        await seal_settled(database, KEYS)
        assert (await verify(database)).entries == 0

    await database.transact(work)
    await seal_settled(database, KEYS)
    verdict = await verify(database)
    assert (verdict.finding, verdict.entries) == (None, 2)


async def test_what_retention_took_is_not_missed(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    database = services.database
    for days in (100, 90, 80, 40, 20):
        row = ENTRY.as_row(now_us() - days * DAY_US)
        await change(database, insert(AUDIT).values([row, {**row, "recorded_us": row["recorded_us"] + 1}]))
    monkeypatch.setattr(chains, "MAX_SEALED", 3)  # so a seal has entries that go and entries that stay
    while await seal(database):
        pass
    assert ((await verify(database)).seals, (await verify(database)).entries) == (4, 10)
    for days, left in ((85, 6), (30, 2)):
        decided = replace(services, retention=RetentionPolicy(audit_days=days), audit_keys=KEYS)
        await prune(decided)
        verdict = await verify(database)
        assert (verdict.finding, verdict.entries) == (None, left)
    assert verdict.seals == 2
    await change(database, delete(AUDIT).where(AUDIT.c.principal == "client:a"))
    assert "was removed" in ((await verify(database)).finding or "")


async def test_command_says_what_it_found(database: Database, tmp_path: Path) -> None:
    url = database.url.render_as_string(hide_password=False)
    settings = Settings(data=tmp_path, database_url=url)
    await database.record([ENTRY])
    await seal(database, settings.keyring(SEALS))
    lines, passed = await verify_audit(settings, None)
    assert passed
    noted = lines[-2].removeprefix("last seal ")
    assert await verify_audit(settings, noted) == (lines, True)
    await change(database, update(AUDIT).values(patient_id="ben"))
    lines, passed = await verify_audit(settings, noted)
    assert not passed
    assert lines[-1].startswith("BROKEN: Entry ")
    with pytest.raises(NotUsable):
        await verify_audit(settings, "3")


async def test_all_went_and_the_chain_goes_on(database: Database) -> None:
    await database.record([ENTRY])
    await seal(database)
    await change(database, delete(AUDIT))
    await database.transact(lambda unit: let_go(unit, KEYS, now_us() + 1))
    assert ((await verify(database)).finding, (await verify(database)).seals) == (None, 0)
    await database.record([ENTRY] * 2)
    assert await seal(database) == 2
    verdict = await verify(database)
    assert (verdict.finding, verdict.seals, verdict.entries) == (None, 1, 2)
    assert verdict.chain is not None
    assert (verdict.chain.first, verdict.chain.last) == (2, 2)


async def told(database: Database) -> dict[str, float]:
    """What the metric says of each part."""
    damaged, *_ = await audit_facts(database, KEYS)
    return {labels[0]: value for labels, value in damaged.values}


async def last_seal(database: Database) -> float:
    *_, last = await audit_facts(database, KEYS)
    return last.values[0][1]


async def look(database: Database) -> dict[str, float]:
    """Both looks, the whole one to its end."""
    await check_newest(database, KEYS)
    while await check_whole(database, KEYS):
        pass
    return await told(database)


async def test_damage_is_noticed_without_being_asked(
    sealed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "WHOLE_SEALS", 1)  # of three, one a step
    monkeypatch.setattr(checks, "NEWEST_SEALS", 1)
    whole, newest = Checked.WHOLE.value, Checked.NEWEST.value
    assert await told(sealed) == {}
    assert await look(sealed) == {whole: 0, newest: 0}
    keys = await keys_of(sealed)
    await change(sealed, update(AUDIT).where(AUDIT.c.sequence == keys[4][1]).values(principal="client:b"))
    assert await look(sealed) == {whole: 1, newest: 0}
    assert await look(sealed) == {whole: 1, newest: 0}  # it stays
    await change(sealed, update(AUDIT).where(AUDIT.c.sequence == keys[8][1]).values(principal="client:b"))
    assert await look(sealed) == {whole: 2, newest: 1}
    await change(sealed, update(AUDIT).values(principal="client:a"))
    assert await look(sealed) == {whole: 0, newest: 0}


async def test_step_goes_on_after_the_seal_of_the_last_one(
    sealed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "WHOLE_SEALS", 1)
    assert await check_whole(sealed, KEYS)
    await change(sealed, update(SEAL).where(SEAL.c.number == 1).values(sealed_us=5))
    while await check_whole(sealed, KEYS):  # what it builds on is not as it was: the next pass tells of it
        assert await told(sealed) == {Checked.WHOLE.value: 0}
    assert await look(sealed) == {Checked.WHOLE.value: 1, Checked.NEWEST.value: 1}
    await change(sealed, delete(SEAL).where(SEAL.c.number == 1))
    assert await look(sealed) == {Checked.WHOLE.value: 1, Checked.NEWEST.value: 1}


async def test_retention_between_two_steps_is_no_damage(
    sealed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "WHOLE_SEALS", 1)
    assert await check_whole(sealed, KEYS)
    until_us = (await keys_of(sealed))[6][0]
    await sealed.transact(lambda unit: let_go(unit, KEYS, until_us))
    await change(sealed, delete(AUDIT).where(AUDIT.c.recorded_us < until_us))
    assert await look(sealed) == {Checked.WHOLE.value: 0, Checked.NEWEST.value: 0}


async def test_chain_that_is_emptied_to_begin_anew_is_missed(
    sealed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = Checked.NEWEST.value
    assert set((await look(sealed)).values()) == {0.0}
    await change(sealed, delete(SEAL), delete(CHAIN))
    assert (await told(sealed))[newest] == 1
    assert (await look(sealed))[newest] == 1
    monkeypatch.setattr(witness, "_SEEN", WeakKeyDictionary())  # another process, which knows it from the row
    assert (await look(sealed))[newest] == 1
    with pytest.raises(DamagedChain):
        await seal(sealed)


async def test_a_process_remembers_what_the_database_does_not(
    sealed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = Checked.NEWEST.value
    await look(sealed)
    assert await last_seal(sealed) == 3
    await change(
        sealed, update(AUDIT).values(principal="client:b"), delete(SEAL), delete(CHAIN), delete(CHECK)
    )
    assert await told(sealed) == {newest: 1}
    assert (await look(sealed))[newest] == 1
    await change(sealed, delete(CHECK))
    with pytest.raises(DamagedChain):
        await seal(sealed)
    assert (await look(sealed))[newest] == 1
    await change(sealed, delete(CHECK))
    monkeypatch.setattr(witness, "_SEEN", WeakKeyDictionary())
    with capture_logs() as logs:  # none is left who knows: the metric has fallen, and the log says it
        assert await seal(sealed) == 10
    assert logs[0]["log_level"] == "warning"
    assert await last_seal(sealed) == 1


async def test_chain_with_an_end_of_before_is_missed(
    sealed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever kept the row of the chain has a row that is ours."""
    async with sealed.read() as connection:
        before = dict((await connection.execute(select(CHAIN))).mappings().one())
    assert await seal(sealed) == 1
    await look(sealed)
    await change(sealed, update(CHAIN).values(before))
    monkeypatch.setattr(witness, "_SEEN", WeakKeyDictionary())
    assert (await look(sealed))[Checked.NEWEST.value] == 1
    await change(sealed, delete(SEAL).where(SEAL.c.number == 4), delete(AUDIT).where(AUDIT.c.sequence > 9))
    assert (await verify(sealed)).finding is None
    assert (await look(sealed))[Checked.NEWEST.value] == 1


async def test_what_looks_found_is_not_taken_back_by_others(sealed: Database) -> None:
    await change(sealed, update(AUDIT).values(principal="client:b"))
    assert await look(sealed) == {Checked.WHOLE.value: 9, Checked.NEWEST.value: 9}
    counted = checks._FOUND.labels(Checked.WHOLE.value)._value.get()
    await look(sealed)
    assert checks._FOUND.labels(Checked.WHOLE.value)._value.get() == counted + 9  # each time
    await change(sealed, update(CHECK).values(found=0, finding=None))
    assert await told(sealed) == {Checked.WHOLE.value: 1, Checked.NEWEST.value: 1}
    for again in (check_newest, check_whole):
        with pytest.raises(DamagedChain):
            await again(sealed, KEYS)


async def test_later_damage_is_not_hidden_by_earlier(
    sealed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = await keys_of(sealed)
    changed = AUDIT.c.sequence.in_([keys[0][1], keys[7][1]])
    await change(
        sealed,
        delete(SEAL).where(SEAL.c.number == 2),
        update(AUDIT).where(changed).values(principal="client:b"),
    )
    await _remove_last(sealed, keys)
    names = [f"{us}-{sequence}" for us, sequence in (keys[0], keys[7], keys[8])]
    wrong = [("Seal 2 is gone.", ""), (names[0], "changed"), (names[1], "changed"), (names[2], "removed")]
    verdict = await verify(sealed)
    said = describe(verdict)[-len(wrong) :]
    assert [
        line for line, (name, what) in zip(said, wrong, strict=True) if name in line and what in line
    ] == said
    monkeypatch.setattr(checks, "WHOLE_SEALS", 1)
    assert (await look(sealed))[Checked.WHOLE.value] == len(wrong)
    monkeypatch.setattr(verifying, "TOLD", 2)
    assert describe(await verify(sealed))[-1] == "BROKEN: 4 findings in all."


async def test_entries_are_compared_a_bite_at_a_time(
    sealed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for most in (1, 64, 200):
        monkeypatch.setattr(verifying, "BITE_BYTES", most)
        verdict = await verify(sealed)
        assert (verdict.finding, verdict.entries) == (None, 9)
