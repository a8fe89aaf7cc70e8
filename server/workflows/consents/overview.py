"""How Consents stand: for administrators, and as a fact of the metrics. Ids and reasons, no patients."""

from typing import Any

import orjson
from sqlalchemy import func, select

from server.kernel.consents.keep import VERDICT, State
from server.kernel.database import Database
from server.kernel.metrics import Fact, fact

PAGE = 100  # Consents in one answer
COUNTED = 10_000  # that are not enforced


async def list_consents(database: Database, after: int, state: State) -> dict[str, Any]:
    """One page of Consents; `after` in the answer leads to the next, None: this is the last."""
    c = VERDICT.c
    query = select(c.rid, c.id, c.version_id, c.reasons).where(c.state == state.value, c.rid > after)
    async with database.read() as connection:
        rows = (await connection.execute(query.order_by(c.rid).limit(PAGE))).all()
    return {
        "consents": [
            {
                "id": row.id,
                "versionId": str(row.version_id),
                "reasons": [
                    {"expression": element, "text": text} for element, text in orjson.loads(row.reasons)
                ],
            }
            for row in rows
        ],
        "after": rows[-1].rid if len(rows) == PAGE else None,
    }


async def consent_facts(database: Database) -> list[Fact]:
    """How many active Consents are not enforced."""
    few = select(VERDICT.c.rid).where(VERDICT.c.state == State.UNENFORCED.value).limit(COUNTED).subquery()
    async with database.read() as connection:
        unenforced = (await connection.execute(select(func.count()).select_from(few))).scalar_one()
    text = "Active Consents that are stored and not enforced."
    return [fact("isthmus_consents_not_enforced", text, float(unenforced))]
