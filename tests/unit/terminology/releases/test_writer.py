"""A draft becomes a release, whole or not at all."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from server.kernel.database import Database
from server.kernel.faults import Busy
from server.kernel.rows import table_of
from terminology.issues import InvalidDefinition
from terminology.releases import writer
from terminology.releases.draft import ReleaseDraft
from terminology.releases.removal import ABANDONED_S, remove_left_over, remove_release
from terminology.releases.writer import write_release
from terminology.tables import (
    RELEASE_ROWS,
    TerminologyClosure,
    TerminologyCode,
    TerminologyConcept,
    TerminologyDescription,
    TerminologyMember,
    TerminologyRelation,
    TerminologyRelease,
)

URL = "http://example.org/animals"
RELEASE = table_of(TerminologyRelease)


def header(version: str = "1", **more: Any) -> dict[str, Any]:
    return {"resourceType": "CodeSystem", "url": URL, "version": version, "content": "complete", **more}


def animals(version: str = "1", **more: Any) -> ReleaseDraft:
    """Animals; what lies below is said before what lies above."""
    draft = ReleaseDraft(header(version, **more))
    draft.add_concept({"code": "tomcat", "display": "Tomcat"}, parents=["cat"])
    draft.add_concept({"code": "cat", "display": "Cat (domestic)"}, parents=["mammal", "pet"])
    draft.add_concept({"code": "mammal", "display": "Mammal"}, parents=["animal"])
    draft.add_concept({"code": "pet", "display": "Pet"}, parents=["animal"])
    draft.add_concept({"code": "animal", "display": "Animal"})
    draft.add_concept({"code": "yeti", "display": "Yeti"}, parents=["animal"], active=False)
    draft.add_concept({"code": "lives-in", "display": "Lives in"})
    return draft


async def rows(database: Database, row: Any, *order: str) -> list[Any]:
    table = table_of(row)
    async with database.read() as connection:
        return list((await connection.execute(select(table).order_by(*table.primary_key.columns))).all())


async def states(database: Database) -> list[tuple[str, str]]:
    query = select(RELEASE.c.version, RELEASE.c.state).order_by(RELEASE.c.id)
    async with database.read() as connection:
        return [(row.version, row.state) for row in (await connection.execute(query)).all()]


async def row_count(database: Database) -> int:
    async with database.read() as connection:
        counts = [
            (await connection.execute(select(func.count()).select_from(table_of(row)))).scalar_one()
            for row in RELEASE_ROWS
        ]
    return sum(counts)


async def test_active_concepts_come_first_and_short_names_before_long_ones(database: Database) -> None:
    with animals() as draft:
        written = await write_release(database, draft)
    assert (written.concepts, written.active_concepts) == (7, 6)
    found = await rows(database, TerminologyConcept)
    assert [(row.number, row.code, row.active) for row in found] == [
        (1, "pet", True),
        (2, "animal", True),
        (3, "mammal", True),
        (4, "tomcat", True),
        (5, "lives-in", True),
        (6, "cat", True),
        (7, "yeti", False),
    ]
    assert await states(database) == [("1", "active")]


async def test_the_hierarchy_goes_both_ways(database: Database) -> None:
    with animals() as draft:
        await write_release(database, draft)
    number = {row.code: row.number for row in await rows(database, TerminologyCode)}
    code = {n: c for c, n in number.items()}
    found = {row.code: row for row in await rows(database, TerminologyConcept)}
    assert {code[n] for n in json.loads(found["tomcat"].ancestors)} == {"cat", "pet", "mammal", "animal"}
    assert {code[n] for n in json.loads(found["cat"].parents)} == {"pet", "mammal"}
    below = {(code[row.ancestor], code[row.descendant]) for row in await rows(database, TerminologyClosure)}
    assert {descendant for ancestor, descendant in below if ancestor == "pet"} == {"cat", "tomcat"}
    assert len(below) == 4 + 3 + 1 + 1 + 1


async def test_further_rows_name_concepts_by_number(database: Database) -> None:
    with animals() as draft:
        draft.add_row(TerminologyRelation, source="cat", role_group=0, attribute="lives-in", target="pet")
        draft.add_row(TerminologyRelation, source="cat", role_group=0, attribute="lives-in", target="pet")
        draft.add_row(TerminologyMember, refset="pet", concept="cat", target="nobody", fields="{}")
        draft.add_row(TerminologyMember, refset="pet", concept="unknown")
        for term in ("cat", "puss"):
            draft.add_row(
                TerminologyDescription,
                concept="cat",
                code=f"d-{term}",
                active=True,
                kind="animal",
                language="en",
                dialects=[("pet", "p"), ("unknown", "a")],
                words=f" {term}",
                term=term,
            )
        await write_release(database, draft)
    assert [tuple(row)[1:] for row in await rows(database, TerminologyRelation)] == [(6, 0, 5, 1)]
    assert [tuple(row)[1:] for row in await rows(database, TerminologyMember)] == [
        (1, 6, 1, None, None, 0, "{}", None)
    ]
    described = await rows(database, TerminologyDescription)
    assert [(row.concept, row.n, row.code, row.kind, row.dialects) for row in described] == [
        (6, 1, "d-cat", 2, " 1p "),
        (6, 2, "d-puss", 2, " 1p "),
    ]


async def test_importing_a_version_again_replaces_it_and_others_stay(database: Database) -> None:
    for version in ("1", "2", "1"):
        with animals(version) as draft:
            written = await write_release(database, draft, grace_s=0)
    assert await states(database) == [("2", "active"), ("1", "active")]
    once = await row_count(database)
    await remove_release(database, written.release_id)
    assert await states(database) == [("2", "active")]
    assert await row_count(database) * 2 == once


async def test_a_load_that_fails_leaves_the_old_release(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with animals() as draft:
        await write_release(database, draft)
    before = await row_count(database)

    def fail(what: str, done: int, _total: int) -> None:
        if what == "closure" and done:
            raise OSError("no more of it can be read")

    with animals() as draft, pytest.raises(OSError, match="no more"):
        await write_release(database, draft, fail)
    assert await states(database) == [("1", "active")]
    assert await row_count(database) == before


async def test_one_that_is_active_stays_although_nobody_was_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    activate = writer._activate

    async def activate_and_be_cut_off(*arguments: Any) -> bool:
        await activate(*arguments)
        raise Busy("The connection was lost while it committed.")

    with animals() as draft:
        await write_release(database, draft)
    monkeypatch.setattr(writer, "_activate", activate_and_be_cut_off)
    with animals() as draft, pytest.raises(Busy):
        await write_release(database, draft)
    assert await states(database) == [("1", "removed"), ("1", "active")]


async def test_what_a_crash_has_left_is_removed_when_nobody_writes_it(database: Database) -> None:
    with animals("1") as draft:
        await write_release(database, draft)
    before = await row_count(database)
    with animals("2") as draft:
        left = await write_release(database, draft)
    is_left = RELEASE.c.id == left.release_id
    await database.transact(lambda unit: unit.execute(update(RELEASE).where(is_left).values(state="loading")))
    assert await remove_left_over(database) == 0  # somebody may be writing it
    long_ago = RELEASE.c.loaded_at_us - (ABANDONED_S + 1) * 1_000_000
    await database.transact(
        lambda unit: unit.execute(update(RELEASE).where(is_left).values(loaded_at_us=long_ago))
    )
    assert await remove_left_over(database) == 1
    assert await states(database) == [("1", "active")]
    assert await row_count(database) == before


async def test_what_was_just_replaced_stays_for_who_has_not_heard_of_it(database: Database) -> None:
    with animals() as draft:
        once = await write_release(database, draft)
    with animals() as draft:
        again = asyncio.create_task(write_release(database, draft, grace_s=3600))
        while await states(database) != [("1", "removed"), ("1", "active")]:
            await asyncio.sleep(0)
    with animals("2") as draft:
        await write_release(database, draft)  # would clear away what is left over
    assert await states(database) == [("1", "removed"), ("1", "active"), ("2", "active")]
    assert {row.release_id for row in await rows(database, TerminologyConcept)} >= {once.release_id}
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    assert await remove_left_over(database, grace_s=0) == 1


async def test_the_index_of_words_follows(database: Database) -> None:
    with animals() as draft:
        written = await write_release(database, draft)
    query = text(
        "SELECT count(*) FROM terminology_words WHERE terminology_words MATCH 'cat OR tom*'"
        if database.is_sqlite
        else "SELECT count(*) FROM terminology_concept"
        " WHERE array_to_tsvector(array_remove(string_to_array(words, ' '), '')) @@ 'cat | tom:*'"
    )
    async with database.read() as connection:
        assert (await connection.execute(query)).scalar_one() == 2
    await remove_release(database, written.release_id)
    async with database.read() as connection:
        assert (await connection.execute(query)).scalar_one() == 0


def test_a_code_twice_is_refused() -> None:
    with animals() as draft, pytest.raises(InvalidDefinition, match="'cat' is there twice"):
        draft.add_concept({"code": "cat"})


async def test_codes_that_differ_in_case_alone_are_refused_where_it_does_not_count(
    database: Database,
) -> None:
    with animals(caseSensitive=False) as draft:
        draft.add_concept({"code": "CAT"})
        with pytest.raises(InvalidDefinition, match="apart from case"):
            await write_release(database, draft)
    assert await states(database) == []


@pytest.mark.parametrize(
    ("entry", "parents", "says"),
    [
        pytest.param({"code": "self"}, ["self"], "below themselves: self", id="a circle of one"),
        pytest.param({"code": "x"}, ["nowhere"], "no concepts: nowhere", id="a parent that is not there"),
    ],
)
async def test_a_hierarchy_that_makes_no_sense_is_refused(
    database: Database, entry: dict[str, Any], parents: list[str], says: str
) -> None:
    with animals() as draft:
        draft.add_concept(entry, parents=parents)
        with pytest.raises(InvalidDefinition, match=says):
            await write_release(database, draft)
    assert await states(database) == []
