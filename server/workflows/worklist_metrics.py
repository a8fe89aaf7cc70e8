"""The worklist as metrics: how many workitems wait and are worked on, and how long the oldest has waited.

Of the engine: how long an outside performer takes is not for this server to answer for. Bounded however many
have ended: both questions are answered by the index on (state, scheduled_us).
"""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from dicomweb.worklist.eligible import is_engines
from dicomweb.worklist.state import State
from dicomweb.worklist.tables import Workitem
from server.kernel.clock import SECOND_US
from server.kernel.metrics import Fact, fact
from server.kernel.rows import table_of
from server.kernel.services import Services

_WORKITEM = table_of(Workitem)

OPEN = (State.SCHEDULED, State.IN_PROGRESS)
COUNTED_WORKITEMS = 10_000  # of a state; more are told as so many


async def worklist_facts(services: Services) -> list[Fact]:
    """Open workitems by state, and the age of the oldest."""
    async with services.database.read() as connection:
        counts = [((state.value,), await _count(connection, state)) for state in OPEN]
        oldest = [us for state in OPEN if (us := await _oldest(connection, state)) is not None]
    age_s = max(0.0, (services.clock() - min(oldest)) / SECOND_US) if oldest else 0.0
    return [
        Fact("isthmus_workitems", "Workitems that have not ended, by state.", ("state",), counts),
        fact("isthmus_workitem_oldest_waiting_seconds", "Age of the oldest workitem not ended.", age_s),
    ]


async def _count(connection: AsyncConnection, state: State) -> float:
    of_state = select(_WORKITEM.c.pk).where(_WORKITEM.c.state == state.value, is_engines())
    some = of_state.limit(COUNTED_WORKITEMS).subquery()
    return float((await connection.execute(select(func.count()).select_from(some))).scalar_one())


async def _oldest(connection: AsyncConnection, state: State) -> int | None:
    query = select(func.min(_WORKITEM.c.scheduled_us)).where(_WORKITEM.c.state == state.value, is_engines())
    oldest: int | None = (await connection.execute(query)).scalar_one()
    return oldest
