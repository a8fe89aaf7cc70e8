"""What one open channel is sent: the reports of its subscriber's workitems, within reach, in order.

A report is sent at most once: what happens while no channel is open is not kept (PS3.4 CC.2.4.3: there is no
obligation to queue). Each disclosure is audited like a retrieval, before it is sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import orjson
from sqlalchemy import RowMapping

from dicomweb.worklist.change import SUBSCRIBED
from dicomweb.worklist.events.filter import matching
from dicomweb.worklist.events.report import message, reports_of
from dicomweb.worklist.events.subscriptions import Subscriber, condition_of, rows_for
from dicomweb.worklist.instants import zone_of
from dicomweb.worklist.search import select_workitem
from server.kernel.access import Access, Permission
from server.kernel.audit import Action, AuditEntry
from server.kernel.outbox import Event
from server.kernel.services import Services

_MESSAGE_IDS = 1 << 16  # Message ID is a US


@dataclass(slots=True)
class Channel:
    """An open channel of a subscriber; `access` is what its token opens, renewed by the owner."""

    services: Services
    subscriber: Subscriber
    access: Access
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def messages(self, event: Event) -> Sequence[bytes]:
        """The messages that an event means for this subscriber; usually none.

        Raises:
            Busy: the database or the audit trail is not available.
            Forbidden: the token opens no workitems any more.
        """
        said = orjson.loads(event.payload)
        if event.kind == SUBSCRIBED and not self._is_me(said["principal"], said["ae_title"]):
            return ()
        row = await self._reported_row(event.subject)
        if row is None:
            return ()
        entry = AuditEntry(
            self.access.principal, Action.READ, "ups-event", "Task", event.subject, row["patient_id"]
        )
        await self.services.read_audit.record_retrieval(entry)
        numbered = zip(reports_of(event, said, row), self._numbers, strict=False)
        return [
            orjson.dumps(message(report, event.subject, number % _MESSAGE_IDS)) for report, number in numbered
        ]

    async def _reported_row(self, workitem_uid: str) -> RowMapping | None:
        """The workitem, if the subscriber is to be told of it."""
        reach = self.access.reach("Task", Permission.READ)
        async with self.services.database.read() as connection:
            rows = await rows_for(connection, self.subscriber, workitem_uid)
            if not rows:
                return None
            query = select_workitem(workitem_uid, reach)
            found = (await connection.execute(query)).mappings().one_or_none()
            condition = condition_of(rows, found["pk"]) if found is not None else None
            if condition:
                matched = query.where(*matching(condition, zone_of(self.services.site)))
                found = (await connection.execute(matched)).mappings().one_or_none()
        return None if condition is None else found

    def _is_me(self, principal: str, ae_title: str) -> bool:
        return (principal, ae_title) == (self.subscriber.principal.id, self.subscriber.ae_title)
