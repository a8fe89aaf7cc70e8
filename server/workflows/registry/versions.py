"""The rows of models and their versions, held while something is decided about them.

Whatever decides about a model holds `model:<name>` and leaves a line in its history, an audit entry and an
event, all in one transaction.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ai_engine.bundle import Bundle, BundleFile
from ai_engine.findings import ModelIdentity
from ai_engine.manifest import Manifest
from ai_engine.tables import Model, ModelChange, ModelVersion, RoutingRule
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of
from server.workflows.registry.bundle_files import encode_files
from server.workflows.registry.device import DEVICE, device_id_of, write_device
from server.workflows.registry.stages import Stage

MODEL_CHANGED = "model.changed"  # the kind of event; its subject is the model's name
INSTALLER = Principal("system:installer", "installer")

MODEL, VERSION = table_of(Model), table_of(ModelVersion)
CHANGE, RULE = table_of(ModelChange), table_of(RoutingRule)


class ModelUnknown(Fault):
    """There is no such model, or no such version of it."""

    kind = FaultKind.NOT_FOUND


class ModelChanged(Fault):
    """Somebody else has decided about the model at the same time."""

    kind = FaultKind.CONFLICT


class RevisionDiffers(Fault):
    """The model is not at the revision that a decision was made on (RFC 9110 §13.1.1)."""

    kind = FaultKind.PRECONDITION_FAILED


@dataclass(frozen=True, slots=True)
class Act:
    """Who decides what about a model, and why."""

    name: str  # "promote", "retire", "traffic", …
    principal: Principal
    reason: str | None = None
    action: Action = Action.UPDATE
    detail: dict[str, Any] = field(default_factory=dict)


async def hold_model(unit: UnitOfWork, name: str, revision: int | None = None) -> RowMapping:
    """The row of a model, nobody else deciding about it until the transaction ends.

    Raises:
        ModelUnknown: there is none.
        ModelChanged: it is not at this revision any more.
    """
    await unit.lock([f"model:{name}"])
    row = (await unit.execute(select(MODEL).where(MODEL.c.name == name))).mappings().one_or_none()
    if row is None:
        raise ModelUnknown(f"There is no model {name}.")
    if revision is not None and row["revision"] != revision:
        raise ModelChanged(f"Somebody else has decided about {name} meanwhile; look again.")
    return row


async def revision_of(connection: AsyncConnection, name: str) -> int:
    """What a decision that is prepared now names, so that it is not made over another's head.

    Raises:
        ModelUnknown: there is no such model.
    """
    found = (
        await connection.execute(select(MODEL.c.revision).where(MODEL.c.name == name))
    ).scalar_one_or_none()
    if found is None:
        raise ModelUnknown(f"There is no model {name}.")
    return int(found)


async def version_row(connection: AsyncConnection, name: str, version: str) -> RowMapping:
    """The row of a version.

    Raises:
        ModelUnknown: there is none.
    """
    query = select(VERSION).where(is_version(name, version))
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise ModelUnknown(f"There is no version {version} of {name}.")
    return row


async def at_stage(connection: AsyncConnection, name: str, stage: Stage) -> RowMapping | None:
    """The version of a model at a stage that at most one can be at; None: none is."""
    query = select(VERSION).where(VERSION.c.name == name, VERSION.c.stage == stage.value)
    return (await connection.execute(query)).mappings().one_or_none()


async def last_in_production(connection: AsyncConnection, name: str) -> RowMapping | None:
    """The version that was in production last and is not barred; None: there is none."""
    c = CHANGE.c
    query = (
        select(VERSION)
        .join(CHANGE, (c.model_name == VERSION.c.name) & (c.version == VERSION.c.version))
        .where(c.model_name == name, c.after == Stage.PRODUCTION.value, VERSION.c.barred_us.is_(None))
        .order_by(c.pk.desc())
        .limit(1)
    )
    return (await connection.execute(query)).mappings().one_or_none()


def is_version(name: str, version: str) -> ColumnElement[bool]:
    """The condition that a row is of this version."""
    return (VERSION.c.name == name) & (VERSION.c.version == version)


def manifest_of(row: RowMapping) -> Manifest:
    """The manifest of a version's row."""
    return msgspec.json.decode(row["manifest"], type=Manifest)


async def add_model(unit: UnitOfWork, name: str) -> None:
    """Make sure that a model has a row; under its lock."""
    if (await unit.execute(select(MODEL.c.name).where(MODEL.c.name == name))).first() is None:
        row = {"name": name, "revision": 0, "canary_share": 0}
        await unit.execute(insert(MODEL), [row])


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A bundle to be registered; `shipped`: its files come with the package."""

    bundle: Bundle
    files: tuple[BundleFile, ...]
    shipped: bool


async def add_version(unit: UnitOfWork, new: NewVersion, stage: Stage, act: Act) -> None:
    """Register a version, under its model's lock."""
    bundle, identity = new.bundle, new.bundle.manifest.identity
    row = {
        "name": identity.name,
        "version": identity.version,
        "digest": bundle.digest,
        "path": str(bundle.path) if new.shipped else "",
        "files": encode_files(new.files),
        "manifest": msgspec.json.encode(bundle.manifest).decode(),
        "device_id": device_id_of(identity),
        "stage": stage.value,
        "registered_us": unit.now_us,
    }
    await unit.execute(insert(VERSION), [row])
    await write_device(unit, identity, stage, act.principal)
    await note(unit, identity.name, identity.version, act, (None, stage.value))


async def set_stage(unit: UnitOfWork, row: RowMapping, stage: Stage, act: Act) -> None:
    """Move a version to another stage; its Device follows."""
    await unit.execute(update(VERSION).where(VERSION.c.pk == row["pk"]).values(stage=stage.value))
    identity: ModelIdentity = manifest_of(row).identity
    await write_device(unit, identity, stage, act.principal)
    await note(unit, row["name"], row["version"], act, (row["stage"], stage.value))


async def set_model(unit: UnitOfWork, model: RowMapping, **columns: object) -> None:
    """Change what is decided about a model; its revision grows, and an operator is known to govern it."""
    governed = columns.pop("governed_us", model["governed_us"] or unit.now_us)
    values = {**columns, "governed_us": governed, "revision": MODEL.c.revision + 1}
    await unit.execute(update(MODEL).where(MODEL.c.name == model["name"]).values(values))


async def note(
    unit: UnitOfWork, name: str, version: str | None, act: Act, change: tuple[str | None, str | None]
) -> None:
    """Tell the history, the audit trail and the outbox of what was decided."""
    before, after = change
    row = {
        "model_name": name,
        "version": version,
        "at_us": unit.now_us,
        "by": act.principal.id,
        "act": act.name,
        "before": before,
        "after": after,
        "reason": act.reason,
    }
    await unit.execute(insert(CHANGE), [row])
    subject = name if version is None else f"{name}/{version}"
    unit.audit(AuditEntry(act.principal, act.action, f"model-{act.name}", DEVICE, subject))
    unit.emit(MODEL_CHANGED, name, {"version": version, "act": act.name, "from": before, "to": after})
