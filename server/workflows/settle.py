"""Settled studies meet the routing rules (DESIGN §2).

An input instance starts a rule's quiet time for its study, by the database clock at receipt; each further one
starts it anew. When it ends, or when somebody says that the study is complete, the rule looks at the study
and tells the worklist what it wants. A rule sees only studies that changed while it was enabled.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import structlog
from sqlalchemy import ColumnElement, RowMapping, and_, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from ai_engine.routing import Demand, NotWanted, route, selection_of
from ai_engine.tables import ModelVersion, RoutingRule, SettlingStudy
from dicomweb.store.index import STUDY_CHANGED
from dicomweb.worklist.schedule import Armed, arm
from dicomweb.worklist.state import Priority
from dicomweb.worklist.workitem import NewWorkitem, SeriesReference
from server.kernel.clock import SECOND_US
from server.kernel.database import UnitOfWork
from server.kernel.faults import Busy, NotFound
from server.kernel.outbox import Event, consume
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.workflows.background import described
from server.workflows.models import LIVE
from server.workflows.study_summary import StudyState, read_instances, read_state, summarise

READER = "settle"
POSTPONED_US = 300 * SECOND_US  # until a study that could not be looked at is tried again
LOOKS = 3  # at a study that keeps changing; its quiet time goes on then
STUDIES_PER_STEP = 20  # looked at before the loop breathes

_RULE, _MODEL, _SETTLING = table_of(RoutingRule), table_of(ModelVersion), table_of(SettlingStudy)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Decision:
    """What one rule made of a study: a workitem, or the reason why there is none."""

    rule: str
    armed: Armed | None
    reason: str | None


async def settle_waiting(services: Services, quiet_time_s: float | None = None) -> int:
    """Note which studies changed, then let the rules look at those whose quiet time has ended.

    `quiet_time_s` replaces every rule's own. Returns how much there was to do.
    """

    async def note(unit: UnitOfWork, events: Sequence[Event]) -> None:
        await _note_changes(unit, events, quiet_time_s)

    noted = await consume(services.database, READER, [STUDY_CHANGED], note)
    due = await _due(services)
    for row in due:
        await _look_or_postpone(services, row["rule"], row["study_instance_uid"])
    return noted + len(due)


async def _look_or_postpone(services: Services, rule: str, study_instance_uid: str) -> None:
    """Look at one study; one that cannot be looked at is tried again later and holds up no other."""
    try:
        await _look(services, rule, study_instance_uid)
    except (Busy, SQLAlchemyError):
        raise  # everybody's trouble
    except Exception as error:  # noqa: BLE001  whatever one study holds, the next one is another
        log.warning("left out", task="settle", subject=study_instance_uid, **described(error))

        async def postpone(unit: UnitOfWork) -> None:
            later = update(_SETTLING).where(_of(rule, study_instance_uid))
            await unit.execute(later.values(due_us=unit.now_us + POSTPONED_US))

        await services.database.transact(postpone)


async def settle_now(services: Services, study_instance_uid: str) -> list[Decision]:
    """Somebody says that the study is complete: every enabled rule looks at it at once.

    Raises:
        NotFound: there is no such study.
    """
    async with services.database.read() as connection:
        if await read_state(connection, study_instance_uid) is None:
            raise NotFound("There is no such study.")
        rules = (await connection.execute(select(_RULE.c.name).where(_RULE.c.enabled))).scalars().all()
    decisions = [await _look_until_still(services, rule, study_instance_uid) for rule in rules]
    return [decision for decision in decisions if decision is not None]


async def _look_until_still(services: Services, rule: str, study_instance_uid: str) -> Decision | None:
    """Look again when an instance arrives while the rule looks; None: they keep arriving."""
    for _ in range(LOOKS):
        if decision := await _look(services, rule, study_instance_uid, told=True):
            return decision
    return None


async def _note_changes(unit: UnitOfWork, events: Sequence[Event], quiet_time_s: float | None) -> None:
    """Start the quiet time, anew, of each enabled rule for each study with something new for it."""
    query = select(_RULE.c.name, _RULE.c.quiet_time_s, _RULE.c.selection).where(_RULE.c.enabled)
    for rule in (await unit.execute(query)).all():
        named = selection_of(rule.selection).sop_class_uids()
        changed = {event.subject: event.occurred_us for event in events if _concerns(event, named)}
        quiet_us = int((rule.quiet_time_s if quiet_time_s is None else quiet_time_s) * SECOND_US)
        rows = [
            {"rule": rule.name, "study_instance_uid": study, "due_us": at_us + quiet_us}
            for study, at_us in changed.items()
        ]
        if rows:
            await unit.execute(delete(_SETTLING).where(_of(rule.name, *changed)))
            await unit.execute(insert(_SETTLING), rows)


def _concerns(event: Event, named_classes: frozenset[str]) -> bool:
    """Whether a rule that names these SOP classes has something new to look at.

    Derived objects (SR, SEG, KO, PR, SC) count for a rule that names their class; our own never do.
    """
    what = orjson.loads(event.payload)
    return what["input"] or not named_classes.isdisjoint(what["derived"])


async def _due(services: Services) -> Sequence[RowMapping]:
    c = _SETTLING.c
    query = (
        select(c.rule, c.study_instance_uid)
        .where(c.due_us <= services.clock())
        .order_by(c.due_us)
        .limit(STUDIES_PER_STEP)
    )
    async with services.database.read() as connection:
        return (await connection.execute(query)).mappings().all()


async def _look(
    services: Services, rule_name: str, study_instance_uid: str, *, told: bool = False
) -> Decision | None:
    """Let one rule look at one study; None: it is not to be looked at now.

    The study is read before the transaction, which then only holds if nothing has arrived since.
    """
    async with services.database.read() as connection:
        state = await read_state(connection, study_instance_uid)
        rule = await _rule(connection, rule_name)
        rows = await read_instances(connection, study_instance_uid)
    if state is None or rule is None:
        await services.database.transact(lambda unit: _forget(unit, rule_name, study_instance_uid))
        return None
    wanted = route(selection_of(rule["selection"]), await asyncio.to_thread(summarise, rows))

    async def work(unit: UnitOfWork) -> Decision | None:
        return await _decide(unit, rule, state, wanted, told=told)

    return await services.database.transact(work)


async def _rule(connection: AsyncConnection, name: str) -> RowMapping | None:
    """An enabled rule with the live version of its model; None: there is none."""
    live = and_(_MODEL.c.name == _RULE.c.model_name, _MODEL.c.stage == LIVE)
    query = (
        select(_RULE.c.name, _RULE.c.selection, _RULE.c.priority, _RULE.c.model_name, _MODEL.c.version)
        .join(_MODEL, live)
        .where(_RULE.c.name == name, _RULE.c.enabled)
    )
    return (await connection.execute(query)).mappings().one_or_none()


async def _decide(
    unit: UnitOfWork, rule: RowMapping, seen: StudyState, wanted: Demand | NotWanted, *, told: bool
) -> Decision | None:
    await unit.lock([f"study:{seen.study_instance_uid}"])
    if await read_state(unit.connection, seen.study_instance_uid) != seen:
        return None  # it changed since; the event of that change is on its way, or the next step looks again
    if not told and not await _is_due(unit, rule["name"], seen.study_instance_uid):
        return None  # another server has looked, or its quiet time has begun anew
    await _forget(unit, rule["name"], seen.study_instance_uid)
    if isinstance(wanted, NotWanted):
        log.info("study not wanted", rule=rule["name"], reason=wanted.reason)
        return Decision(rule["name"], None, wanted.reason)
    armed = await arm(unit, _workitem(rule, seen, wanted))
    log.info("study settled", rule=rule["name"], arming=armed.arming.value, workitem=armed.workitem_uid)
    return Decision(rule["name"], armed, None)


def _workitem(rule: RowMapping, state: StudyState, demand: Demand) -> NewWorkitem:
    return NewWorkitem(
        rule=rule["name"],
        model_name=rule["model_name"],
        model_version=rule["version"],
        study_instance_uid=state.study_instance_uid,
        patient_id=state.patient_id,
        input=tuple(
            SeriesReference(
                state.study_instance_uid, each.series_instance_uid, each.sop_class_uid, each.sop_instance_uids
            )
            for each in demand.input
        ),
        priority=Priority(rule["priority"]),
    )


async def _is_due(unit: UnitOfWork, rule: str, study_instance_uid: str) -> bool:
    query = select(_SETTLING.c.pk).where(_of(rule, study_instance_uid), _SETTLING.c.due_us <= unit.now_us)
    return (await unit.execute(query)).first() is not None


async def _forget(unit: UnitOfWork, rule: str, study_instance_uid: str) -> None:
    await unit.execute(delete(_SETTLING).where(_of(rule, study_instance_uid)))


def _of(rule: str, *study_instance_uids: str) -> ColumnElement[bool]:
    return and_(_SETTLING.c.rule == rule, _SETTLING.c.study_instance_uid.in_(study_instance_uids))
