"""The concepts that an expression names are looked up, before it becomes SQL (ECL 2.2, §7.3)."""

from collections.abc import Collection, Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from server.kernel.rows import table_of
from terminology.ecl.concepts import WELL_KNOWN
from terminology.ecl.evaluate import Meaning
from terminology.ecl.parse import parse
from terminology.ecl.syntax import Expression, codes_of
from terminology.issues import InvalidFilter
from terminology.sctid import why_invalid
from terminology.tables import TerminologyCode

CODE = table_of(TerminologyCode)
NOWHERE = -1  # the number of no concept


async def understand(connection: AsyncConnection, release_id: int, text: str) -> tuple[Expression, Meaning]:
    """An expression over a release.

    Raises:
        InvalidFilter: it does not follow the grammar, or names concepts that are not there.
    """
    tree = parse(text)
    return tree, Meaning(release_id, await find_numbers(connection, release_id, codes_of(tree), text))


async def find_numbers(
    connection: AsyncConnection, release_id: int, codes: Collection[str], text: str
) -> Mapping[str, int]:
    """The numbers of the concepts that an expression names; `text` is the expression, for a message.

    Raises:
        InvalidFilter: some are not there.
    """
    c = CODE.c
    found = await connection.execute(
        select(c.code, c.number).where(c.release_id == release_id, c.code.in_(sorted(codes)))
    )
    numbers: dict[str, int] = {row.code: row.number for row in found}
    for code in sorted(codes):
        if code not in numbers and code not in WELL_KNOWN:
            why = why_invalid(code) or "it is unknown in this release"
            raise InvalidFilter(f"The ECL expression '{text}' names the concept {code}: {why}.")
    return dict.fromkeys(codes, NOWHERE) | numbers
