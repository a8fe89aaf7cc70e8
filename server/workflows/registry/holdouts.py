"""Holdout sets of the registry: folders on the operator's machine, known by their content."""

import asyncio
import re
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping, delete, insert, select

from ai_engine.bundle import digest_of_all
from ai_engine.tables import HoldoutSet, ModelEvaluation
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import instant_text
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of
from server.workflows.registry.versions import Act, note

SET, _EVALUATION = table_of(HoldoutSet), table_of(ModelEvaluation)
_NAME = re.compile(r"(?=.{1,64}\Z)[a-z0-9]+(-[a-z0-9]+)*")


class HoldoutUnknown(Fault):
    """There is no holdout set of that name."""

    kind = FaultKind.NOT_FOUND


class HoldoutChanged(Fault):
    """The files of a holdout set are not those that were registered."""

    kind = FaultKind.CONFLICT


class InvalidHoldoutName(Fault):
    """The name is none that a criterion could say."""


async def add_holdout(database: Database, name: str, folder: Path, principal: Principal) -> tuple[str, int]:
    """Register the set in a folder; returns its digest and how many cases it has.

    A set of that name that was there is replaced: evaluations on other files open no gate any more, and the
    history of each model that was evaluated on it says so.

    Raises:
        InvalidHoldoutName: lower case letters, digits and single hyphens make a name.
        HoldoutInvalid, BundleInvalid: the folder is no set, or has links in it.
    """
    from ai_engine.evaluation.holdout import read_holdout

    if not _NAME.fullmatch(name):
        raise InvalidHoldoutName("A holdout set's name is lower case letters, digits and single hyphens.")
    folder = await asyncio.to_thread(folder.resolve)
    cases = len((await asyncio.to_thread(read_holdout, folder)).cases)
    digest = await asyncio.to_thread(digest_of_all, folder)

    async def work(unit: UnitOfWork) -> None:
        await unit.lock([f"holdout:{name}"])
        await _tell_evaluated(unit, name, digest, principal)
        await unit.execute(delete(SET).where(SET.c.name == name))
        row = {"name": name, "digest": digest, "folder": str(folder), "cases": cases}
        row |= {"registered_us": unit.now_us, "registered_by": principal.id}
        await unit.execute(insert(SET), [row])
        entry = AuditEntry(
            principal, Action.CREATE, "holdout-register", "Administration", f"{name}:{digest[:12]}"
        )
        unit.audit(entry)

    await database.transact(work)
    return digest, cases


async def _tell_evaluated(unit: UnitOfWork, name: str, digest: str, principal: Principal) -> None:
    """Note other files of a set in the history of the models that have evaluations on it."""
    known = (await unit.execute(select(SET.c.digest).where(SET.c.name == name))).scalar_one_or_none()
    if known is None or known == digest:
        return
    evaluated = select(_EVALUATION.c.model_name).where(_EVALUATION.c.holdout == name).distinct()
    models = sorted((await unit.execute(evaluated)).scalars())
    await unit.lock([f"model:{model}" for model in models])
    change = f"{name} sha256:{known[:12]}", f"{name} sha256:{digest[:12]}"
    for model in models:
        await note(unit, model, None, Act("holdout", principal), change)


async def find_holdout(database: Database, name: str) -> RowMapping:
    """The row of a set.

    Raises:
        HoldoutUnknown: there is none.
    """
    async with database.read() as connection:
        row = (await connection.execute(select(SET).where(SET.c.name == name))).mappings().one_or_none()
    if row is None:
        raise HoldoutUnknown(f"There is no holdout set {name}.")
    return row


async def require_unchanged(row: RowMapping, folder: Path) -> None:
    """Refuse a folder that is not what was registered.

    Raises:
        HoldoutChanged: it is not.
    """
    if not await asyncio.to_thread(folder.is_dir):
        raise HoldoutChanged(f"The folder of {row['name']} is not there.")
    if await asyncio.to_thread(digest_of_all, folder) != row["digest"]:
        raise HoldoutChanged(f"The files of {row['name']} are not those that were registered.")


async def list_holdouts(database: Database) -> list[dict[str, Any]]:
    """The registered sets."""
    async with database.read() as connection:
        rows = (await connection.execute(select(SET).order_by(SET.c.name))).mappings().all()
    return [
        {
            "name": row["name"],
            "digest": row["digest"],
            "folder": row["folder"],
            "cases": row["cases"],
            "registered": instant_text(row["registered_us"]),
            "by": row["registered_by"],
        }
        for row in rows
    ]
