import asyncio

import pytest

from server.kernel.database import Database, UnitOfWork
from server.kernel.patients import (
    UNASSIGNED,
    Demographics,
    LinkState,
    PatientIdentifier,
    PatientLink,
    fold_name,
    link_patient,
    register_patient,
)

MRN = PatientIdentifier("urn:oid:1.2.3", "42")
ADA = Demographics("1815-12-10", "female", "lovelace ada")


async def link(
    database: Database, identifier: PatientIdentifier | None, facts: Demographics, create: bool = True
) -> PatientLink:
    async def work(unit: UnitOfWork) -> PatientLink:
        return await link_patient(unit, identifier, facts, create=create)

    return await database.transact(work)


async def test_no_identifier_is_unassigned(database: Database) -> None:
    assert await link(database, None, ADA) == UNASSIGNED


async def test_unknown_identifier_creates_or_not(database: Database) -> None:
    assert await link(database, MRN, ADA, create=False) == UNASSIGNED
    created = await link(database, MRN, ADA)
    assert created.state is LinkState.LINKED
    assert await link(database, MRN, ADA, create=False) == created


async def test_parallel_links_make_one_patient(database: Database) -> None:
    links = await asyncio.gather(*(link(database, MRN, ADA) for _ in range(8)))
    assert len({found.patient_id for found in links}) == 1


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        pytest.param(Demographics("1815-12-11", "female", "lovelace ada"), "conflict", id="other birth date"),
        pytest.param(Demographics("1815-12-10", "male", "lovelace ada"), "linked", id="only the sex differs"),
        pytest.param(Demographics("1815-12-10", "female", "king ada"), "linked", id="only the name differs"),
        pytest.param(Demographics(None, "male", "babbage charles"), "conflict", id="sex and name differ"),
        pytest.param(Demographics(), "linked", id="nothing known"),
    ],
)
async def test_contradicting_demographics(database: Database, facts: Demographics, state: str) -> None:
    await link(database, MRN, ADA)
    found = await link(database, MRN, facts)
    assert found.state.value == state
    assert (found.patient_id is None) == (state == "conflict")


async def test_same_value_of_another_issuer_is_another_patient(database: Database) -> None:
    one = await link(database, MRN, ADA)
    other = await link(database, PatientIdentifier("urn:oid:9.9", "42"), ADA)
    assert one.patient_id != other.patient_id


async def test_registered_patient_is_found(database: Database) -> None:
    async def register(unit: UnitOfWork) -> None:
        await register_patient(unit, "p1", [MRN, MRN], ADA)

    await database.transact(register)
    await database.transact(register)
    assert await link(database, MRN, ADA) == PatientLink(LinkState.LINKED, "p1", "p1")


async def test_registering_does_not_take_an_identifier_from_another_patient(database: Database) -> None:
    first = await link(database, MRN, ADA)

    async def register(unit: UnitOfWork) -> None:
        await register_patient(unit, "thief", [MRN], ADA)

    await database.transact(register)
    assert (await link(database, MRN, ADA)).patient_id == first.patient_id


def test_names_fold_over_case_and_accents() -> None:
    assert fold_name("MÜLLER", "Zoë ") == fold_name("Muller", "zoe")
    assert fold_name("", " ") is None
