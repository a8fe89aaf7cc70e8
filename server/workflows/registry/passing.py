"""Whether a version passes the gate, by the evaluations that are written down."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ai_engine.evaluation.proportion import Estimate
from ai_engine.gate import Criterion, Evaluations, shortcomings
from ai_engine.tables import HoldoutSet, Model, ModelEvaluation
from server.kernel.rows import table_of
from server.workflows.registry.versions import manifest_of

_MODEL, _EVALUATION, _SET = table_of(Model), table_of(ModelEvaluation), table_of(HoldoutSet)

_FIGURES = msgspec.json.Decoder(dict[str, Estimate])
_CRITERIA = msgspec.json.Decoder(list[Criterion])


async def criteria_for(
    connection: AsyncConnection, row: RowMapping, production: RowMapping | None
) -> list[Criterion]:
    """What a version must show: what the operator says; else what its manifest says, and production's.

    So a new version cannot bring a lower gate along.
    """
    query = select(_MODEL.c.gate).where(_MODEL.c.name == row["name"])
    said = (await connection.execute(query)).scalar_one_or_none()
    if said is not None:
        return _CRITERIA.decode(said)
    manifests = [manifest_of(each) for each in (row, production) if each is not None]
    return list(dict.fromkeys(criterion for manifest in manifests for criterion in manifest.gate))


async def shortcomings_of(
    connection: AsyncConnection,
    criteria: Sequence[Criterion],
    row: RowMapping,
    production: RowMapping | None,
) -> list[str]:
    """What keeps a version from passing; nothing: it passes."""
    standing = None if production is None else await evaluations_of(connection, production)
    return list(shortcomings(criteria, await evaluations_of(connection, row), standing))


async def evaluations_of(connection: AsyncConnection, row: RowMapping) -> Evaluations:
    """The newest evaluation of these very files on the whole of each holdout set, as it is registered now."""
    e, s = _EVALUATION.c, _SET.c
    query = (
        select(e.holdout, e.metrics)
        .join(_SET, (s.name == e.holdout) & (s.digest == e.holdout_digest))
        .where(e.model_name == row["name"], e.version == row["version"])
        .where(e.digest == row["digest"], e.whole)
        .order_by(e.pk)  # a later one replaces an earlier
    )
    return {each.holdout: _FIGURES.decode(each.metrics) for each in await connection.execute(query)}
