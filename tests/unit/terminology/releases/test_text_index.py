"""Words of a text filter over a release begin words of names, however many there are."""

import pytest

from server.kernel.database import Database
from server.kernel.rows import table_of
from terminology.code_system import Selection
from terminology.library import Kind
from terminology.releases import text_index
from terminology.releases.draft import ReleaseDraft
from terminology.releases.kinds import RULES
from terminology.releases.source import Releases
from terminology.releases.text_index import MAX_NAMED_WORDS
from terminology.releases.writer import write_release
from terminology.tables import TerminologyConcept
from terminology.text import matches, words_of

CONCEPT = table_of(TerminologyConcept)
MANY = [f"node{number:03}" for number in range(MAX_NAMED_WORDS + 5)]
NAMES = [
    "pneumonia of lung",
    "Pneumonia, PNEUMONIAE; pneumonias",
    "pneumo0 pneumonea",
    "pneumoz pneumonız",
    "pneumoniä straße",
    "ελληνικά ελληνική",
    "node node",
    *MANY,
    " ".join(MANY[:MAX_NAMED_WORDS]),
]
FILTERS = [
    "pneumonia", "pneumoni", "pneumo", "pneu", "pne", "PNEUMONIÄ", "pneumoz", "pneumonia lung", "lung pneu",
    "node", "node0", "node00", "node02", "node024", "node pneu", "ελλη", "ελληνική", "ελ", "strasse",
    "straßen", "zzzz", "pneumonia zzzz", "0000",
]  # fmt: skip


@pytest.mark.parametrize("kept", ["one release", "beside another"])
async def test_what_begins_as_was_typed(database: Database, kept: str) -> None:
    for version in ["1", "2"][: 1 + (kept == "beside another")]:
        header = {"resourceType": "CodeSystem", "url": "http://example.org/w", "version": version}
        with ReleaseDraft({**header, "content": "complete"}) as draft:
            for at, name in enumerate(NAMES):
                draft.add_concept({"code": f"c{at}", "display": name + " old" * (version == "1")})
            await write_release(database, draft)
    system = await (await Releases(database, RULES).editions(Kind.CODE_SYSTEM, header["url"]))[-1].open()
    for text in FILTERS:
        expected = {f"c{at}" for at, name in enumerate(NAMES) if matches(words_of(text), [name])}
        found = await system.select(Selection(text=text))
        assert ({each.code for each in found.concepts}, found.total) == (expected, len(expected)), text


async def test_few_words_are_named_and_many_are_not(database: Database) -> None:
    if not database.is_sqlite:
        return
    await test_what_begins_as_was_typed(database, "one release")
    async with database.read() as connection:
        asked = [
            await text_index._asked(connection, word) for word in ("pneumoni", "node", "node02", "pne", "zz")
        ]
    assert asked[1:2] + asked[3:] == ['"node"*', '"pne"*', '"zz"*']
    assert asked[0] == '("pneumonia" OR "pneumoniae" OR "pneumonias")'
    assert asked[2] == "(" + " OR ".join(f'"node{number:03}"' for number in range(20, 25)) + ")"
