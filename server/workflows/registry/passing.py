"""Whether a version passes the gate, by the evaluations that are written down."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ai_engine.evaluation.proportion import Estimate
from ai_engine.gate import Criterion, Evaluations, Standing, shortcomings
from ai_engine.tables import HoldoutSet, Model, ModelEvaluation
from server.kernel.rows import table_of
from server.workflows.registry.versions import manifest_of

_MODEL, _EVALUATION, _SET = table_of(Model), table_of(ModelEvaluation), table_of(HoldoutSet)

_FIGURES = msgspec.json.Decoder(dict[str, Estimate])
_CRITERIA = msgspec.json.Decoder(list[Criterion])


async def criteria_for(
    connection: AsyncConnection, row: RowMapping, standing: RowMapping | None
) -> list[Criterion]:
    """What a version must show: what the operator says; else what its manifest says, and that of `standing`.

    So a new version cannot bring a lower gate along.
    """
    query = select(_MODEL.c.gate).where(_MODEL.c.name == row["name"])
    said = (await connection.execute(query)).scalar_one_or_none()
    if said is not None:
        return _CRITERIA.decode(said)
    manifests = [manifest_of(each) for each in (row, standing) if each is not None]
    return list(dict.fromkeys(criterion for manifest in manifests for criterion in manifest.gate))


async def shortcomings_of(
    connection: AsyncConnection,
    criteria: Sequence[Criterion],
    row: RowMapping,
    standing: RowMapping | None,
) -> list[str]:
    """What keeps a version from passing; nothing: it passes. `standing`: what it is compared with."""
    shown = await evaluations_of(connection, row)
    against = None
    if standing is not None:
        against = Standing(standing["version"], await evaluations_of(connection, standing))
    return [*await _other_sets(connection, criteria), *shortcomings(criteria, shown, against)]


async def _other_sets(connection: AsyncConnection, criteria: Sequence[Criterion]) -> list[str]:
    """Sets that are not registered, or with other files than a criterion names: evaluations prove nothing."""
    rows = (await connection.execute(select(_SET.c.name, _SET.c.digest))).all()
    registered = {row.name: row.digest for row in rows}
    unknown = dict.fromkeys(each.holdout for each in criteria if each.holdout not in registered)
    named = dict.fromkeys((each.holdout, each.holdout_digest) for each in criteria)
    return [f"there is no holdout set {name}" for name in unknown] + [
        f"{name} is registered as sha256:{registered[name][:12]}, the gate asks for sha256:{digest[:12]}"
        for name, digest in named
        if digest is not None and registered.get(name, digest) != digest
    ]


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
