"""The nearest matches of a text filter, where concepts fill more than one block of PostgreSQL's index."""

from dataclasses import dataclass

from sqlalchemy import func, select

from server.kernel.database import Database
from terminology.code_system import Filter, FilterOperator, Selection
from terminology.library import Kind
from terminology.releases.draft import ReleaseDraft
from terminology.releases.find import COUNTED, FEW
from terminology.releases.kinds import RULES
from terminology.releases.removal import remove_release
from terminology.releases.source import Releases
from terminology.releases.word_blocks import BLOCK_BITS, WORDS
from terminology.releases.writer import write_release
from terminology.text import matches, words_of

URL = "http://example.org/blocks"
COUNT = (1 << BLOCK_BITS) + 2_000
CASES = [
    (above, typed, active_only, offset)
    for above in ("", "all", "tenth", "short")
    for typed, active_only, offset in (
        ("even", True, 0), ("odd", True, 0), ("odd", True, 990), ("rare", False, 0), ("frequent", False, 20),
        ("ra od", True, 0), ("odd n09", False, 0), ("frequent frequently", False, 0), ("none", False, 0),
    )
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Made:
    """A concept that is there."""

    code: str
    name: str
    parents: tuple[str, ...]
    active: bool


def made(at: int) -> Made:
    name = f"n{at:05} {('even', 'odd', 'oddly')[at % 3]}" + " rare" * (at % 401 == 7)
    name += " frequently" * (at % 5 == 0)
    parents = ("all", *["tenth"] * (at % 10 == 0), *["short"] * (at % 2 == 0 and at < 3 * FEW))
    return Made(f"c{at:05}", name, parents, at % 1_000 != 1)


async def test_matches_come_in_order_from_however_many_blocks(database: Database) -> None:
    concepts = [made(at) for at in range(COUNT)]
    with ReleaseDraft({"resourceType": "CodeSystem", "url": URL, "content": "complete"}) as draft:
        for code in ("all", "tenth", "short"):
            draft.add_concept({"code": code, "display": "top"})
        for each in concepts:
            entry = {"code": each.code, "display": each.name}
            draft.add_concept(entry, parents=each.parents, active=each.active)
        written = await write_release(database, draft)
    system = await (await Releases(database, RULES).editions(Kind.CODE_SYSTEM, URL))[-1].open()
    concepts.sort(key=lambda each: (not each.active, len(each.name), each.name))
    for above, typed, active_only, offset in CASES:
        filters = [Filter("concept", FilterOperator.IS_A, above)] if above else []
        found = await system.select(Selection(filters, typed, active_only, offset, 30))
        expected = [
            each.code
            for each in concepts
            if (not above or above in each.parents)
            and (each.active or not active_only)
            and matches(words_of(typed), [each.name])
        ]
        case = above, typed, active_only, offset
        assert [each.code for each in found.concepts] == expected[offset : offset + 30], case
        assert found.total == (len(expected) if len(expected) <= COUNTED else None), case
    await remove_release(database, written.release_id)
    if not database.is_sqlite:
        async with database.read() as connection:
            assert (await connection.execute(select(func.count()).select_from(WORDS))).scalar_one() == 0
