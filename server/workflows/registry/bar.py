"""Versions that are known to be bad: barred, until somebody finds that they are not.

Nothing puts a barred version to work: no promotion, no rollback, whoever asks. It is compared with nothing.
"""

from sqlalchemy import update

from server.kernel.database import UnitOfWork
from server.workflows.registry.decide import Asked, TransitionRefused, require_reason, retire
from server.workflows.registry.stages import Stage
from server.workflows.registry.versions import VERSION, hold_model, is_version, note, set_model, version_row

BARRED = "barred"  # in the history


async def bar(unit: UnitOfWork, asked: Asked, version: str) -> None:
    """Bar a version; it retires, unless it is retired.

    Raises:
        ModelUnknown, ModelChanged: as `hold_model`.
        ReasonMissing: no reason is given.
        TransitionRefused: it is barred, or in production.
    """
    model = await hold_model(unit, asked.name, asked.revision)
    require_reason(asked, "Barring a version")
    row = await version_row(unit.connection, asked.name, version)
    if row["barred_us"] is not None:
        raise TransitionRefused(f"{asked.name} {version} is barred already.")
    if row["stage"] == Stage.PRODUCTION.value:
        raise TransitionRefused(
            f"{asked.name} {version} is in production; roll it back or retire it, then bar it."
        )
    if row["stage"] == Stage.RETIRED.value:
        await set_model(unit, model)
    else:
        await retire(unit, asked, version)
    await unit.execute(update(VERSION).where(is_version(asked.name, version)).values(barred_us=unit.now_us))
    await note(unit, asked.name, version, asked.act("bar"), (None, BARRED))


async def lift_bar(unit: UnitOfWork, asked: Asked, version: str) -> None:
    """Let a version be promoted again; it stays retired until it is.

    Raises:
        ModelUnknown, ModelChanged: as `hold_model`.
        ReasonMissing: no reason is given.
        TransitionRefused: it is not barred.
    """
    model = await hold_model(unit, asked.name, asked.revision)
    require_reason(asked, "Lifting a bar")
    row = await version_row(unit.connection, asked.name, version)
    if row["barred_us"] is None:
        raise TransitionRefused(f"{asked.name} {version} is not barred.")
    await set_model(unit, model)
    await unit.execute(update(VERSION).where(is_version(asked.name, version)).values(barred_us=None))
    await note(unit, asked.name, version, asked.act("unbar"), (BARRED, None))
