"""The table of merges: who survives, what a token opens, what is refused."""

import pytest

from server.kernel.database import Database, UnitOfWork
from server.kernel.patient_merge import (
    MergeRefused,
    end_merge,
    merged_into,
    patients_opened_by,
    record_merge,
    survivor_of,
)
from server.kernel.patients import (
    Demographics,
    LinkState,
    PatientIdentifier,
    PatientLink,
    link_patient,
    register_patient,
)

OLD, NEW = PatientIdentifier("urn:oid:1.2.3", "old"), PatientIdentifier("urn:oid:1.2.3", "new")
NOBODY_KNOWS = Demographics()


async def merge(database: Database, *pairs: tuple[str, str]) -> None:
    async def work(unit: UnitOfWork) -> None:
        for source, target in pairs:
            await record_merge(unit, source, target, source_active=None)

    await database.transact(work)


async def unmerge(database: Database, source: str, target: str) -> bool | None:
    return await database.transact(lambda unit: end_merge(unit, source, target))


async def opened(database: Database, patient_id: str) -> set[str]:
    async with database.read() as connection:
        return set(await patients_opened_by(connection, patient_id))


async def link(database: Database, identifier: PatientIdentifier) -> PatientLink:
    return await database.transact(lambda unit: link_patient(unit, identifier, NOBODY_KNOWS))


async def register(database: Database, patient_id: str, *identifiers: PatientIdentifier) -> None:
    await database.transact(lambda unit: register_patient(unit, patient_id, identifiers, NOBODY_KNOWS))


async def test_a_token_opens_what_is_merged_into_its_patient_over_any_number_of_merges(
    database: Database,
) -> None:
    await merge(database, ("a", "b"), ("x", "b"), ("b", "c"))
    assert await opened(database, "c") == {"a", "b", "c", "x"}
    async with database.read() as connection:
        assert await survivor_of(connection, "a") == "c"
        assert await merged_into(connection, "b") == {"a", "x"}


async def test_a_token_of_a_patient_that_is_merged_away_opens_that_patient_only(database: Database) -> None:
    await merge(database, ("a", "b"), ("b", "c"))
    assert await opened(database, "b") == {"b"}
    assert await opened(database, "a") == {"a"}


async def test_a_merge_within_a_merge_is_taken_back_alone(database: Database) -> None:
    await merge(database, ("a", "b"), ("b", "c"))
    await unmerge(database, "a", "b")
    assert await opened(database, "c") == {"b", "c"}
    assert await opened(database, "a") == {"a"}


@pytest.mark.parametrize(
    ("before", "pair"),
    [
        pytest.param([], ("a", "a"), id="into itself"),
        pytest.param([("a", "b")], ("a", "b"), id="merged already"),
        pytest.param([("a", "b")], ("a", "c"), id="merged elsewhere"),
        pytest.param([("a", "b")], ("b", "a"), id="a cycle of two"),
        pytest.param([("a", "b"), ("b", "c")], ("c", "a"), id="a cycle of three"),
        pytest.param([("a", "b")], ("c", "a"), id="into one that is merged away"),
    ],
)
async def test_refused(database: Database, before: list[tuple[str, str]], pair: tuple[str, str]) -> None:
    await merge(database, *before)
    with pytest.raises(MergeRefused):
        await merge(database, pair)


async def test_there_is_a_most_that_are_merged_into_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.kernel.patient_merge.MAX_MERGED", 12)
    await merge(database, *((f"s{n}", "t") for n in range(12)))
    with pytest.raises(MergeRefused, match="More than 12 Patients"):
        await merge(database, ("one-more", "t"))


@pytest.mark.parametrize("pair", [("a", "c"), ("b", "a"), ("x", "y")])
async def test_what_is_not_merged_cannot_be_unmerged(database: Database, pair: tuple[str, str]) -> None:
    await merge(database, ("a", "b"))
    with pytest.raises(MergeRefused):
        await unmerge(database, *pair)


@pytest.mark.parametrize("active", [True, False, None])
async def test_what_the_source_said_of_itself_is_remembered(database: Database, active: bool | None) -> None:
    await database.transact(lambda unit: record_merge(unit, "a", "b", source_active=active))
    assert await unmerge(database, "a", "b") is active


async def test_identifiers_lead_to_the_survivor_and_back(database: Database) -> None:
    await register(database, "old", OLD)
    await register(database, "new", NEW)
    await merge(database, ("old", "new"))
    assert await link(database, OLD) == PatientLink(LinkState.LINKED, "new", "old")
    await unmerge(database, "old", "new")
    assert await link(database, OLD) == PatientLink(LinkState.LINKED, "old", "old")
    assert await link(database, NEW) == PatientLink(LinkState.LINKED, "new", "new")


async def test_a_write_of_the_target_keeps_and_takes_no_identifier_of_the_source(database: Database) -> None:
    later = PatientIdentifier("urn:oid:1.2.3", "later")
    await register(database, "old", OLD)
    await merge(database, ("old", "new"))
    await register(database, "new", NEW, OLD, later)
    assert (await link(database, OLD)).patient_id == "new"
    await unmerge(database, "old", "new")
    assert (await link(database, OLD)).patient_id == "old"
    assert (await link(database, later)).patient_id == "new"
