"""What is told of models: all versions with their rules, and one model with its history and evaluations."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import RowMapping, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ai_engine.tables import HoldoutSet, ModelEvaluation, ModelVerdict, ShadowResult
from server.kernel.clock import instant_text
from server.kernel.database import Database
from server.kernel.rows import table_of
from server.workflows.registry.passing import criteria_for
from server.workflows.registry.stages import Stage
from server.workflows.registry.versions import CHANGE, MODEL, RULE, VERSION, ModelUnknown, manifest_of

HISTORY = 200  # newest changes, evaluations and shadow results in one answer

_EVALUATION, _SHADOW = table_of(ModelEvaluation), table_of(ShadowResult)
_VERDICT, _SET = table_of(ModelVerdict), table_of(HoldoutSet)

Answer = dict[str, Any]


async def list_models(database: Database) -> Answer:
    """The registered versions, and the rules that route studies to them."""
    m, r = VERSION.c, RULE.c
    versions = select(m.name, m.version, m.stage, m.digest).order_by(m.pk)
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
        model = (await connection.execute(select(MODEL).where(MODEL.c.name == name))).mappings().one_or_none()
        if model is None:
            raise ModelUnknown(f"There is no model {name}.")
        rows = select(VERSION).where(VERSION.c.name == name).order_by(VERSION.c.pk)
        versions = (await connection.execute(rows)).mappings().all()
        return {
            "name": name,
            "revision": model["revision"],
            "canaryShare": model["canary_share"] / 100,
            "previousVersion": model["previous_version"],
            "gate": None if model["gate"] is None else orjson.loads(model["gate"]),
            "limits": None if model["limits"] is None else orjson.loads(model["limits"]),
            "versions": [await _version(connection, row, versions) for row in versions],
            "history": await _history(connection, name),
        }


async def _version(connection: AsyncConnection, row: RowMapping, versions: Sequence[RowMapping]) -> Answer:
    manifest = manifest_of(row)
    production = next((each for each in versions if each["stage"] == Stage.PRODUCTION.value), None)
    criteria = await criteria_for(connection, row, production)
    return {
        "version": row["version"],
        "stage": row["stage"],
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
    """The evaluations of a model's versions, newest first."""
    c = _EVALUATION.c
    query = select(_EVALUATION, (_SET.c.digest == c.holdout_digest).label("current"))
    query = query.outerjoin(_SET, _SET.c.name == c.holdout).where(c.model_name == name)
    async with database.read() as connection:
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


async def list_shadow_results(database: Database, name: str) -> Answer:
    """What the shadow versions of a model made, newest first: for administrators, and for nobody else."""
    c = _SHADOW.c
    query = select(_SHADOW).where(c.model_name == name).order_by(c.pk.desc()).limit(HISTORY)
    async with database.read() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return {
        "shadowResults": [
            {
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
            for row in rows
        ]
    }
