"""What changed in the archive, in the order in which it became visible: read from the outbox, none skipped.

A reader keeps its cursor itself and asks again with it. A cursor names the place in the outbox, the
installation whose outbox that is, and when the feed was read: events go after `outbox_days`, so an older
cursor may have missed some, and is refused rather than believed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from dicomweb.delete.rows import STUDY_DELETED
from dicomweb.overlay.write import STUDY_CORRECTED
from dicomweb.patients import PATIENT_CHANGED
from dicomweb.store.index import STUDY_CHANGED
from server.kernel.clock import now_us
from server.kernel.faults import Fault, FaultKind
from server.kernel.outbox import START, Event, Position, read_events
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import Installation
from server.workflows.retention.due import DAY_US

# By the kind of event; a study that changed got instances, or lost some and is still there.
CHANGES: Mapping[str, str] = {
    STUDY_CHANGED: "changed",
    STUDY_DELETED: "deleted",
    PATIENT_CHANGED: "patient-changed",
    STUDY_CORRECTED: "corrected",
}

_CURSOR = re.compile(r"([0-9a-zA-Z-]{1,64})\.([0-9]{1,18})\.([0-9]{1,18})\.([0-9]{1,18})")


class CursorInvalid(Fault):
    """The cursor is none that the feed gave."""


class CursorTooOld(Fault):
    """What follows the cursor may not be there any more; the reader must look at everything anew."""

    kind = FaultKind.GONE


@dataclass(frozen=True, slots=True)
class Page:
    """Some changes, and where to go on; `more`: there are others already."""

    events: Sequence[Event]
    cursor: str
    more: bool


async def read_changes(services: Services, cursor: str | None, limit: int) -> Page:
    """The next changes after `cursor`; None: from the oldest that is kept.

    Raises:
        CursorInvalid, CursorTooOld.
    """
    now = now_us()
    async with services.database.read() as connection:
        installation = (await connection.execute(select(table_of(Installation).c.name))).scalar_one()
        after = START if cursor is None else _position(cursor, installation, _oldest_us(services, now))
        events = await read_events(connection, after, list(CHANGES), limit + 1)
    page = events[:limit]
    reached = page[-1].position if page else after
    return Page(page, f"{installation}.{reached.xact}.{reached.sequence}.{now}", len(events) > limit)


def change_of(event: Event, payload: Mapping[str, Any]) -> dict[str, Any]:
    """What the feed says of an event: which study, and how many instances came or went; no patient data."""
    told = {"change": CHANGES[event.kind], "studyInstanceUID": event.subject}
    return told | ({"instances": payload["instances"]} if "instances" in payload else {})


def _oldest_us(services: Services, now: int) -> int:
    return now - services.retention.outbox_days * DAY_US


def _position(cursor: str, installation: str, oldest_us: int) -> Position:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise CursorInvalid("The cursor is none that this feed gave.")
    if found[1] != installation:
        raise CursorTooOld("The cursor is of another installation; read the studies anew, then the feed.")
    if int(found[4]) < oldest_us:
        raise CursorTooOld("The cursor is older than what the feed keeps; read the studies anew, then it.")
    return Position(int(found[2]), int(found[3]))
