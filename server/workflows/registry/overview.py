"""What is told of models: all versions with their rules, and one model with its history and evaluations."""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, RowMapping, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ai_engine.tables import HoldoutSet, ModelEvaluation, ModelVerdict, ShadowResult
from dicomweb.reach import within_reach
from dicomweb.tables import Study
from dicomweb.worklist.change import WORKITEM
from dicomweb.worklist.reach import within
from server.kernel.access import Reach
from server.kernel.clock import instant_text
from server.kernel.database import Database
from server.kernel.rows import table_of
from server.workflows.registry.passing import criteria_for
from server.workflows.registry.stages import Stage
from server.workflows.registry.versions import (
    CHANGE,
    MODEL,
    RULE,
    VERSION,
    ModelUnknown,
    at_stage,
    last_in_production,
    manifest_of,
)

HISTORY = 200  # newest changes, evaluations and shadow results in one answer

_EVALUATION, _SHADOW = table_of(ModelEvaluation), table_of(ShadowResult)
_STUDY = table_of(Study)
_VERDICT, _SET = table_of(ModelVerdict), table_of(HoldoutSet)

Answer = dict[str, Any]


async def list_models(database: Database) -> Answer:
    """The registered versions, and the rules that route studies to them."""
    m, r = VERSION.c, RULE.c
    barred = m.barred_us.is_not(None).label("barred")
    versions = select(m.name, m.version, m.stage, barred, m.digest).order_by(m.pk)
    rules = select(r.name, r.model_name, r.quiet_time_s, r.enabled).order_by(r.pk)
    async with database.read() as connection:
        listed = [dict(row) for row in (await connection.execute(versions)).mappings()]
        routing = [dict(row) for row in (await connection.execute(rules)).mappings()]
    return {"models": listed, "rules": routing}


async def show_model(database: Database, name: str) -> Answer:
    """One model: its versions, what is decided about it, and by whom.

    Raises:
        ModelUnknown: there is none.
    """
    async with database.read() as connection:
        model = await _require_model(connection, name)
        rows = select(VERSION).where(VERSION.c.name == name).order_by(VERSION.c.pk)
        versions = (await connection.execute(rows)).mappings().all()
        standing = await at_stage(connection, name, Stage.PRODUCTION)
        standing = standing or await last_in_production(connection, name)
        return {
            "name": name,
            "revision": model["revision"],
            "canaryShare": model["canary_share"] / 100,
            "previousVersion": model["previous_version"],
            "gate": None if model["gate"] is None else orjson.loads(model["gate"]),
            "limits": None if model["limits"] is None else orjson.loads(model["limits"]),
            "versions": [await _version(connection, row, standing) for row in versions],
            "history": await _history(connection, name),
        }


async def _require_model(connection: AsyncConnection, name: str) -> RowMapping:
    model = (await connection.execute(select(MODEL).where(MODEL.c.name == name))).mappings().one_or_none()
    if model is None:
        raise ModelUnknown(f"There is no model {name}.")
    return model


async def _version(connection: AsyncConnection, row: RowMapping, standing: RowMapping | None) -> Answer:
    manifest = manifest_of(row)
    criteria = await criteria_for(connection, row, standing)
    return {
        "version": row["version"],
        "stage": row["stage"],
        "barred": None if row["barred_us"] is None else instant_text(row["barred_us"]),
        "digest": row["digest"],
        "title": manifest.title,
        "manufacturer": manifest.manufacturer,
        "intendedUse": manifest.intended_use,
        "device": row["device_id"],
        "shipped": bool(row["path"]),
        "registered": instant_text(row["registered_us"]),
        "files": orjson.loads(row["files"]),
        "gated": bool(criteria),
        "verdicts": await _counts(connection, _VERDICT.c.verdict, row),
        "shadowRuns": await _counts(connection, _SHADOW.c.outcome, row),
    }


async def _counts(connection: AsyncConnection, column: Any, row: RowMapping) -> dict[str, int]:
    c = column.table.c
    query = select(column, func.count()).where(c.model_name == row["name"], c.version == row["version"])
    rows = await connection.execute(query.group_by(column))
    return {row[0]: row[1] for row in rows}


async def _history(connection: AsyncConnection, name: str) -> list[Answer]:
    c = CHANGE.c
    query = select(CHANGE).where(c.model_name == name).order_by(c.pk.desc()).limit(HISTORY)
    return [
        {
            "at": instant_text(row["at_us"]),
            "by": row["by"],
            "act": row["act"],
            "version": row["version"],
            "from": row["before"],
            "to": row["after"],
            "reason": row["reason"],
        }
        for row in (await connection.execute(query)).mappings()
    ]


async def list_evaluations(database: Database, name: str) -> Answer:
    """The evaluations of a model's versions, newest first.

    Raises:
        ModelUnknown: there is no such model.
    """
    c = _EVALUATION.c
    query = select(_EVALUATION, (_SET.c.digest == c.holdout_digest).label("current"))
    query = query.outerjoin(_SET, _SET.c.name == c.holdout).where(c.model_name == name)
    async with database.read() as connection:
        await _require_model(connection, name)
        rows = (await connection.execute(query.order_by(c.pk.desc()).limit(HISTORY))).mappings().all()
    return {"evaluations": [_evaluation(row) for row in rows]}


def _evaluation(row: RowMapping) -> Answer:
    return {
        "version": row["version"],
        "digest": row["digest"],
        "holdout": row["holdout"],
        "holdoutDigest": row["holdout_digest"],
        "holdoutIsCurrent": bool(row["current"]),
        "cases": row["cases"],
        "whole": row["whole"],
        "metrics": orjson.loads(row["metrics"]),
        "tables": orjson.loads(row["tables"]),
        "ended": instant_text(row["ended_us"]),
        "by": row["by"],
    }


@dataclass(frozen=True, slots=True)
class ShadowReach:
    """How far somebody may read studies and the work on them: a shadow result tells of both."""

    studies: Reach
    work: Reach

    def conditions(self) -> list[ColumnElement[bool]]:
        """What a study and its workitem must be."""
        conditions = []
        if not self.studies.is_everyone:
            conditions.append(within_reach(self.studies))
        if not self.work.is_everyone:
            conditions.append(within(self.work))
        return conditions


async def list_shadow_results(
    database: Database, name: str, reach: ShadowReach
) -> tuple[Answer, frozenset[str]]:
    """What the shadow versions of a model made, newest first, of studies within reach; and whose studies.

    Raises:
        ModelUnknown: there is no such model.
    """
    c, study = _SHADOW.c, _STUDY.c
    query = (
        select(_SHADOW, study.patient_id)
        .join(WORKITEM, WORKITEM.c.workitem_uid == c.workitem_uid)
        .join(_STUDY, study.study_instance_uid == c.study_instance_uid)
        .where(c.model_name == name, *reach.conditions())
        .order_by(c.pk.desc())
        .limit(HISTORY)
    )
    async with database.read() as connection:
        await _require_model(connection, name)
        rows = (await connection.execute(query)).mappings().all()
    patients = frozenset(row["patient_id"] for row in rows if row["patient_id"] is not None)
    return {"shadowResults": [_shadow_result(row) for row in rows]}, patients


def _shadow_result(row: RowMapping) -> Answer:
    return {
        "workitem": row["workitem_uid"],
        "version": row["version"],
        "clinicalVersion": row["clinical_version"],
        "outcome": row["outcome"],
        "fault": row["fault"],
        "tries": row["tries"],
        "durationSeconds": None if row["duration_ms"] is None else row["duration_ms"] / 1000,
        "findings": None if row["findings"] is None else orjson.loads(row["findings"]),
        "agreement": None if row["agreement"] is None else orjson.loads(row["agreement"]),
        "at": instant_text(row["at_us"]),
    }
