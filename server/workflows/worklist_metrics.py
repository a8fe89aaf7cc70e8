"""The worklist as metrics: how many workitems stand in each state, and how long the oldest has waited."""

from sqlalchemy import func, select

from dicomweb.worklist.state import State
from dicomweb.worklist.tables import Workitem
from server.kernel.clock import SECOND_US
from server.kernel.rows import table_of
from server.kernel.services import Services

_WORKITEM = table_of(Workitem)

WAITING = (State.SCHEDULED.value, State.IN_PROGRESS.value)


async def count_workitems(services: Services) -> dict[str, int]:
    """State → number of workitems; every state is named."""
    query = select(_WORKITEM.c.state, func.count()).group_by(_WORKITEM.c.state)
    async with services.database.read() as connection:
        counted: dict[str, int] = {row[0]: row[1] for row in (await connection.execute(query)).all()}
    return {state.value: counted.get(state.value, 0) for state in State}


async def oldest_waiting_s(services: Services) -> float:
    """Age in seconds of the oldest workitem that has not ended; 0: none waits."""
    query = select(func.min(_WORKITEM.c.scheduled_us)).where(_WORKITEM.c.state.in_(WAITING))
    async with services.database.read() as connection:
        oldest: int | None = (await connection.execute(query)).scalar_one()
    return 0.0 if oldest is None else max(0.0, (services.clock() - oldest) / SECOND_US)
