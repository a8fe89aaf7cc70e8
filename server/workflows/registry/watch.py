"""Versions that serve are watched, and taken back when clinicians meet with more failures than was allowed.

A canary becomes a candidate again; in production the version before takes its place, and where there is none,
people are told. Counted is what happened in the window of now; windows follow each other from when the
version came to its stage.
"""

import structlog
from sqlalchemy import ColumnElement, RowMapping, and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ai_engine.tables import ModelChange
from dicomweb.worklist.state import FINAL_STATES
from dicomweb.worklist.tables import Workitem, WorkitemAttempt
from dicomweb.worklist.workitem import Outcome
from server.kernel.access import Principal
from server.kernel.clock import SECOND_US
from server.kernel.database import UnitOfWork
from server.kernel.metrics import counter
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.workflows.registry.decide import (
    Asked,
    GateRefused,
    NothingToRollBack,
    return_unasked,
    take_canary_back,
)
from server.workflows.registry.limits import (
    Experience,
    breaches,
    few_disagree,
    is_common,
    limits_in,
    window_at,
)
from server.workflows.registry.stages import SERVING, Stage
from server.workflows.registry.verdicts import VERDICT, Verdict
from server.workflows.registry.versions import MODEL, VERSION, ModelChanged

WATCHER = Principal("system:registry", "registry")
HOUR_US = 3600 * SECOND_US
# What is held against a version: not what images, hosts or stores are to blame for (ai_engine.runners.port).
BLAMED = ("runner-failed", "model-raised", "model-timed-out", "model-out-of-memory", "model-output-invalid")

_ROLLBACKS = counter(
    "isthmus_model_rollbacks",
    "Versions that were beyond their limits, by what became of them.",
    ("model", "outcome"),
)
_ATTEMPT, _WORKITEM, _CHANGE = table_of(WorkitemAttempt), table_of(Workitem), table_of(ModelChange)

log = structlog.get_logger(__name__)


async def watch_models(services: Services) -> int:
    """Look at every version that serves; returns 0, for it has looked at all of them."""
    for row in await _serving(services):
        async with services.database.read() as connection:
            experience = await experience_of(connection, row, services.clock())
        limits = limits_in(row["limits"])
        if few_disagree(experience, limits):
            _ROLLBACKS.labels(row["name"], "few-people").inc()
        if found := breaches(experience, limits):
            await _take_back(services, row, "; ".join(found), is_common=is_common(experience, limits))
    return 0


async def experience_of(connection: AsyncConnection, row: RowMapping, now_us: int) -> Experience:
    """What became of a version's work within the windows of its limits."""
    limits = limits_in(row["limits"])
    begun_us = await _at_stage_since(connection, row)
    of_studies = window_at(begun_us, now_us, round(limits.window_hours * HOUR_US))
    of_verdicts = window_at(begun_us, now_us, round(limits.agreement_days * 24 * HOUR_US))
    w = _WORKITEM.c
    of_version = and_(w.model_name == row["name"], _ATTEMPT.c.model_version == row["version"])
    ended = await _studies(connection, of_version, of_studies.since_us)
    elsewhere = await _studies(connection, w.model_name != row["name"], of_studies.since_us)
    said = await _verdicts(connection, row, of_verdicts.since_us)
    return Experience(*ended, *elsewhere, *said, of_studies, of_verdicts)


async def _serving(services: Services) -> list[RowMapping]:
    columns = (VERSION.c.name, VERSION.c.version, VERSION.c.stage, MODEL.c.limits, MODEL.c.revision)
    query = select(*columns).join(MODEL, MODEL.c.name == VERSION.c.name)
    query = query.where(VERSION.c.stage.in_([stage.value for stage in SERVING]))
    async with services.database.read() as connection:
        return list((await connection.execute(query.order_by(VERSION.c.pk))).mappings())


async def _at_stage_since(connection: AsyncConnection, row: RowMapping) -> int:
    c = _CHANGE.c
    query = select(func.max(c.at_us)).where(
        c.model_name == row["name"], c.version == row["version"], c.after == row["stage"]
    )
    return int((await connection.execute(query)).scalar_one() or 0)


async def _studies(connection: AsyncConnection, which: ColumnElement[bool], since_us: int) -> tuple[int, int]:
    """Studies whose analysis failed and completed, each once: by the last attempt at what a rule asked for.

    What is to be tried again has not ended yet; what a person asks for again, and what is asked for from
    outside, may be chosen for that it fails.
    """
    a, w = _ATTEMPT.c, _WORKITEM.c
    failed = or_(
        and_(a.outcome == Outcome.FAILED.value, a.fault.in_(BLAMED)), a.outcome == Outcome.LOST.value
    )
    completed = a.outcome == Outcome.COMPLETED.value
    last = (
        select(func.max(a.pk))
        .join(_WORKITEM, w.pk == a.workitem_pk)
        .where(which, a.ended_us >= since_us, or_(failed, completed))
        .where(w.state.in_([state.value for state in FINAL_STATES]), w.requested_by.is_(None), w.run == 1)
        .group_by(w.model_name, w.study_instance_uid)
    )
    query = select(_count(failed), _count(completed)).where(a.pk.in_(last))
    some_failed, some_completed = (await connection.execute(query)).one()
    return some_failed or 0, some_completed or 0


async def _verdicts(connection: AsyncConnection, row: RowMapping, since_us: int) -> tuple[int, int, int]:
    """Results that were verified, those that were not, and how many people say the latter."""
    v = VERDICT.c
    is_verified = v.verdict == Verdict.VERIFIED.value
    people = func.count(case((~is_verified, v.person)).distinct())
    query = select(_count(is_verified), _count(~is_verified), people).where(
        v.model_name == row["name"], v.version == row["version"], v.at_us >= since_us
    )
    verified, others, some = (await connection.execute(query)).one()
    return verified or 0, others or 0, some


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


async def _take_back(services: Services, row: RowMapping, why: str, *, is_common: bool) -> None:
    if is_common:
        _ROLLBACKS.labels(row["name"], "others-fail").inc()
        log.warning("version is beyond its limits, and other models fail too", model=row["name"], why=why)
        return
    asked = Asked(row["name"], WATCHER, why, row["revision"])
    is_canary = row["stage"] == Stage.CANARY.value

    async def work(unit: UnitOfWork) -> None:
        if is_canary:
            await take_canary_back(unit, asked, row["version"])
        else:
            await return_unasked(unit, asked)

    named = {"model": row["name"], "version": row["version"], "why": why}
    try:
        await services.database.transact(work)
    except (NothingToRollBack, GateRefused) as fault:
        _ROLLBACKS.labels(row["name"], "not-possible").inc()
        log.warning("version is beyond its limits, and there is none to go back to", **named, but=str(fault))
    except ModelChanged:
        return  # somebody decided meanwhile; the next look sees what that came to
    else:
        _ROLLBACKS.labels(row["name"], row["stage"]).inc()
        log.warning("version was taken back", stage=row["stage"], **named)
