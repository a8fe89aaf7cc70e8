"""Settled studies meet the routing rules (DESIGN §2).

An input instance starts a rule's quiet time for its study, by the database clock at receipt; each further one
starts it anew. When it ends, or when somebody says that the study is complete, the rule looks at the study
and tells the worklist what it wants. A rule sees only studies that changed while it was enabled.

Two jobs do it: one notes a change and when its quiet time will have ended, in the table `settling_study`,
which decides; the other looks then, and finds out whether it has.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass

import structlog
from sqlalchemy import ColumnElement, RowMapping, and_, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ai_engine.routing import Demand, NotWanted, PassedOver, route, selection_of
from ai_engine.tables import ModelVersion, RoutingRule, SettlingStudy
from dicomweb.store.index import STUDY_CHANGED
from dicomweb.tables import Study
from dicomweb.worklist.schedule import Armed, arm
from dicomweb.worklist.state import Priority
from dicomweb.worklist.workitem import NewWorkitem, SeriesReference
from server.kernel.clock import SECOND_US
from server.kernel.database import UnitOfWork
from server.kernel.faults import NotFound
from server.kernel.jobs import Args, Emitted, Handlers, Job, Subscriptions
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.workflows.registry.stages import Stage
from server.workflows.registry.traffic import version_for
from server.workflows.study_summary import StudyState, read_instances, read_state, summarise

NOTE, LOOK = "note-study-changed", "look-at-study"  # tasks
BURST_S = 0.25  # in which the instances of a study gather
LOOKS = 3  # at a study that keeps changing; its quiet time goes on then

_RULE, _MODEL, _SETTLING = table_of(RoutingRule), table_of(ModelVersion), table_of(SettlingStudy)
_STUDY = table_of(Study)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Decision:
    """What one rule made of a study: a workitem, or why there is none; and why not of other series."""

    rule: str
    armed: Armed | None
    reason: str | None
    passed_over: tuple[PassedOver, ...] = ()


def after_study_changed(event: Emitted) -> Job | None:
    """Note the change, unless nothing came but objects of the engine's own, which concern no rule."""
    is_input, derived = event.payload["input"], event.payload["derived"]
    if not is_input and not derived:
        return None
    return Job(
        NOTE,
        {"study": event.subject, "input": is_input, "derived": derived},
        delay_s=BURST_S,
        dedupe_key=f"{NOTE}:{event.subject}:{is_input}:{','.join(derived)}",
    )


SUBSCRIPTIONS: Subscriptions = {STUDY_CHANGED: (after_study_changed,)}


def look_job(rule: str, study_instance_uid: str, delay_s: float) -> Job:
    """Let a rule look at a study once its quiet time has ended."""
    arguments = {"rule": rule, "study": study_instance_uid}
    return Job(LOOK, arguments, delay_s=delay_s, dedupe_key=f"{LOOK}:{rule}:{study_instance_uid}")


def settle_handlers(services: Services, quiet_time_s: float | None = None) -> Handlers:
    """What the jobs do; `quiet_time_s` replaces every rule's own."""

    async def note(args: Args) -> None:
        await services.database.transact(lambda unit: _note_change(unit, args, quiet_time_s))

    async def look(args: Args) -> None:
        if await _look(services, args["rule"], args["study"]) is None:
            await services.database.transact(lambda unit: _look_later(unit, args["rule"], args["study"]))

    return {NOTE: note, LOOK: look}


async def look_at_settling(unit: UnitOfWork) -> None:
    """Make sure that every study that settles has a job: those of a release without jobs have none."""
    rows = await unit.execute(select(_SETTLING.c.rule, _SETTLING.c.study_instance_uid, _SETTLING.c.due_us))
    for row in rows.all():
        unit.defer(look_job(row.rule, row.study_instance_uid, _seconds_until(unit, row.due_us)))


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


async def _note_change(unit: UnitOfWork, change: Args, quiet_time_s: float | None) -> None:
    """Start the quiet time, anew, of each enabled rule for which a study has something new.

    It starts when the study last changed, as the study's row says: later than the change that this job tells
    of when more has come since, of which another job will tell.
    """
    await unit.lock([f"settle:{change['study']}"])
    c = _STUDY.c
    changed = select(c.input_changed_us, c.changed_us).where(c.study_instance_uid == change["study"])
    study = (await unit.execute(changed)).one_or_none()
    if study is None:
        return
    at_us = study.input_changed_us if change["input"] else study.changed_us
    rules = select(_RULE.c.name, _RULE.c.quiet_time_s, _RULE.c.selection).where(_RULE.c.enabled)
    for rule in (await unit.execute(rules)).all():
        if _concerns(change, selection_of(rule.selection).sop_class_uids()):
            quiet_s = rule.quiet_time_s if quiet_time_s is None else quiet_time_s
            await _wait_for(unit, rule.name, change["study"], at_us + int(quiet_s * SECOND_US))


def _concerns(change: Args, named_classes: frozenset[str]) -> bool:
    """Whether a rule that names these SOP classes has something new to look at.

    Derived objects (SR, SEG, KO, PR, SC) count for a rule that names their class; our own never do.
    """
    return change["input"] or not named_classes.isdisjoint(change["derived"])


async def _wait_for(unit: UnitOfWork, rule: str, study_instance_uid: str, due_us: int) -> None:
    """Let a rule look at a study when it is due; never sooner than was said before."""
    known = await _due_us(unit, rule, study_instance_uid)
    due_us = max(due_us, known or 0)
    if known is None:
        row = {"rule": rule, "study_instance_uid": study_instance_uid, "due_us": due_us}
        await unit.execute(insert(_SETTLING), [row])
    elif known != due_us:
        await unit.execute(update(_SETTLING).where(_of(rule, study_instance_uid)).values(due_us=due_us))
    unit.defer(look_job(rule, study_instance_uid, _seconds_until(unit, due_us)))


async def _look_later(unit: UnitOfWork, rule: str, study_instance_uid: str) -> None:
    """A look that decided nothing is repeated when the quiet time that began meanwhile has ended."""
    due_us = await _due_us(unit, rule, study_instance_uid)
    if due_us is not None:
        delay_s = max(BURST_S, _seconds_until(unit, due_us))  # due, and yet undecided: it changes right now
        unit.defer(look_job(rule, study_instance_uid, delay_s))


def _seconds_until(unit: UnitOfWork, due_us: int) -> float:
    return max(0.0, (due_us - unit.now_us) / SECOND_US)


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
    """An enabled rule whose model serves; None: there is none."""
    serves = and_(_MODEL.c.name == _RULE.c.model_name, _MODEL.c.stage == Stage.PRODUCTION.value)
    query = (
        select(_RULE.c.name, _RULE.c.selection, _RULE.c.priority, _RULE.c.model_name)
        .join(_MODEL, serves)
        .where(_RULE.c.name == name, _RULE.c.enabled)
    )
    return (await connection.execute(query)).mappings().one_or_none()


async def _decide(
    unit: UnitOfWork, rule: RowMapping, seen: StudyState, wanted: Demand | NotWanted, *, told: bool
) -> Decision | None:
    await unit.lock([f"study:{seen.study_instance_uid}"])
    if await read_state(unit.connection, seen.study_instance_uid) != seen:
        return None  # it changed since; the job of that change is on its way
    if not told:
        due_us = await _due_us(unit, rule["name"], seen.study_instance_uid)
        if due_us is None or due_us > unit.now_us:
            return None  # another server has looked, or its quiet time has begun anew
    await _forget(unit, rule["name"], seen.study_instance_uid)
    if isinstance(wanted, NotWanted):
        log.info("study not wanted", rule=rule["name"], reason=wanted.reason, others=_counted(wanted))
        return Decision(rule["name"], None, wanted.reason, wanted.passed_over)
    version = await version_for(unit.connection, rule["model_name"], seen.study_instance_uid)
    if version is None:
        return Decision(rule["name"], None, "No version of the model is in production.", wanted.passed_over)
    armed = await arm(unit, _workitem(rule, version, seen, wanted))
    log.info(
        "study settled",
        rule=rule["name"],
        arming=armed.arming.value,
        workitem=armed.workitem_uid,
        others=_counted(wanted),
    )
    return Decision(rule["name"], armed, None, wanted.passed_over)


def _counted(wanted: Demand | NotWanted) -> dict[str, int]:
    """How many series were passed over, by the reason."""
    return dict(Counter(each.reason for each in wanted.passed_over))


def _workitem(rule: RowMapping, version: str, state: StudyState, demand: Demand) -> NewWorkitem:
    return NewWorkitem(
        rule=rule["name"],
        model_name=rule["model_name"],
        model_version=version,
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


async def _due_us(unit: UnitOfWork, rule: str, study_instance_uid: str) -> int | None:
    """When a rule is to look at a study; None: it is not."""
    query = select(_SETTLING.c.due_us).where(_of(rule, study_instance_uid))
    due_us: int | None = (await unit.execute(query)).scalar_one_or_none()
    return due_us


async def _forget(unit: UnitOfWork, rule: str, study_instance_uid: str) -> None:
    await unit.execute(delete(_SETTLING).where(_of(rule, study_instance_uid)))


def _of(rule: str, *study_instance_uids: str) -> ColumnElement[bool]:
    return and_(_SETTLING.c.rule == rule, _SETTLING.c.study_instance_uid.in_(study_instance_uids))
