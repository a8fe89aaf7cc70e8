"""What operators decide about a model: promotion behind the gate, retirement, traffic, gate, limits.

Each is one transaction that moves pointers; no study and no report is touched by it. What a version that is
taken out is working on gets a successor.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec
from sqlalchemy import RowMapping, insert, select, update

from ai_engine.gate import Criterion
from ai_engine.manifest import Manifest
from ai_engine.routing import selection_of
from server.kernel.access import Principal
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind
from server.workflows.registry.bundle_files import is_loadable
from server.workflows.registry.in_service import replace_work
from server.workflows.registry.limits import Limits
from server.workflows.registry.passing import criteria_for, shortcomings_of
from server.workflows.registry.stages import ALLOWED, SERVING, Stage
from server.workflows.registry.traffic import SLOTS
from server.workflows.registry.versions import (
    RULE,
    Act,
    at_stage,
    hold_model,
    last_in_production,
    manifest_of,
    note,
    set_model,
    set_stage,
    version_row,
)

MAX_REASON_CHARACTERS = 1000
_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,2})?")


class TransitionRefused(Fault):
    """A version cannot go from its stage to that one."""

    kind = FaultKind.CONFLICT


class VersionBarred(Fault):
    """The version is known to be bad: nothing puts it to work before somebody lifts the bar."""

    kind = FaultKind.CONFLICT


class GateRefused(Fault):
    """A version does not pass the gate; the text says what is missing."""

    kind = FaultKind.UNPROCESSABLE


class FilesGone(Fault):
    """The files of a version are not here as they were registered: no worker could load it."""

    kind = FaultKind.CONFLICT


class ReasonMissing(Fault):
    """What nothing else justifies needs a reason in words."""

    kind = FaultKind.UNPROCESSABLE


class NothingToRollBack(Fault):
    """No earlier version of the model is there to go back to."""

    kind = FaultKind.CONFLICT


class InvalidShare(Fault):
    """The share is no percentage."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A decision that somebody asks for; `revision` None: whatever was decided before."""

    name: str
    principal: Principal
    reason: str | None = None
    revision: int | None = None

    def act(self, name: str) -> Act:
        """The act that it becomes."""
        return Act(name, self.principal, self.reason)


async def promote(unit: UnitOfWork, asked: Asked, version: str, stage: Stage) -> None:
    """Move a version to another stage; the version that was in production before retires.

    Raises:
        ModelUnknown, ModelChanged: as `hold_model`.
        VersionBarred: it is known to be bad.
        TransitionRefused: its stage does not lead there, or another version is in the way.
        GateRefused, ReasonMissing, FilesGone: it may not serve.
    """
    model = await hold_model(unit, asked.name, asked.revision)
    row = await version_row(unit.connection, asked.name, version)
    before = Stage(row["stage"])
    if row["barred_us"] is not None:
        raise VersionBarred(f"{asked.name} {version} is barred; unbar it first, if it is not bad after all.")
    if stage not in ALLOWED[before]:
        raise TransitionRefused(
            f"{asked.name} {version} is {before.value}, which does not become {stage.value}."
        )
    production = await at_stage(unit.connection, asked.name, Stage.PRODUCTION)
    if stage is Stage.CANARY:
        await _require_room_for_canary(unit, asked.name, production)
    if stage in SERVING:
        last = production or await last_in_production(unit.connection, asked.name)
        await _require_passing(unit, asked, row, last)
    columns: dict[str, object] = {}
    if before is Stage.CANARY:
        columns["canary_share"] = 0
    if stage is Stage.PRODUCTION:
        columns["previous_version"] = None if production is None else production["version"]
        await _take_over(unit, asked, row, production)
    await set_model(unit, model, **columns)
    await set_stage(unit, row, stage, asked.act("promote"))
    if before in SERVING and stage not in SERVING:
        await replace_work(unit, row)


async def retire(unit: UnitOfWork, asked: Asked, version: str) -> None:
    """Take a version out; the one in production only for a reason: no study gets the model then.

    Raises:
        ModelUnknown, ModelChanged: as `hold_model`.
        TransitionRefused: it is retired, or the model has a canary that production is compared with.
        ReasonMissing: it is the one in production, or the one that a rollback would go back to.
    """
    model = await hold_model(unit, asked.name, asked.revision)
    row = await version_row(unit.connection, asked.name, version)
    before = Stage(row["stage"])
    columns: dict[str, object] = {"canary_share": 0} if before is Stage.CANARY else {}
    if version == model["previous_version"]:
        require_reason(asked, "Retiring the version that a rollback would go back to")
        columns["previous_version"] = None
    elif Stage.RETIRED not in ALLOWED[before]:
        raise TransitionRefused(f"{asked.name} {version} is retired already.")
    if before is Stage.PRODUCTION:
        require_reason(asked, "Retiring the version in production")
        if await at_stage(unit.connection, asked.name, Stage.CANARY) is not None:
            raise TransitionRefused(f"{asked.name} has a canary; promote it to another stage first.")
    await set_model(unit, model, **columns)
    await set_stage(unit, row, Stage.RETIRED, asked.act("retire"))
    await replace_work(unit, row)


async def roll_back(unit: UnitOfWork, asked: Asked) -> str:
    """Put the version that was in production before back there; returns it. The other becomes a candidate.

    Raises:
        ModelUnknown, ModelChanged: as `hold_model`.
        NothingToRollBack: there is none, it is barred, or its files are gone.
    """
    model = await hold_model(unit, asked.name, asked.revision)
    earlier = await previous_of(unit, model)
    if earlier is None:
        raise NothingToRollBack(f"No earlier version of {asked.name} is there to go back to.")
    act = asked.act("rollback")
    production = await at_stage(unit.connection, asked.name, Stage.PRODUCTION)
    if production is not None:
        await set_stage(unit, production, Stage.CANDIDATE, act)
        await follow_wants(unit, manifest_of(production), manifest_of(earlier))
    if earlier["stage"] == Stage.CANARY.value:
        await set_model(unit, model, previous_version=None, canary_share=0)
    else:
        await set_model(unit, model, previous_version=None)
    await set_stage(unit, earlier, Stage.PRODUCTION, act)
    if production is not None:
        await replace_work(unit, production)
    return str(earlier["version"])


async def return_unasked(unit: UnitOfWork, asked: Asked) -> str:
    """`roll_back` that no operator asked for: only to a version that passes the gate as it is today.

    It is not held against the one in production, which is why it comes.

    Raises:
        ModelUnknown, ModelChanged, NothingToRollBack: as `roll_back`.
        GateRefused: the version before does not pass.
    """
    model = await hold_model(unit, asked.name, asked.revision)
    earlier = await previous_of(unit, model)
    if earlier is not None:
        criteria = await criteria_for(unit.connection, earlier, None)
        if missing := await shortcomings_of(unit.connection, criteria, earlier, None):
            raise _refusal(earlier, missing)
    return await roll_back(unit, asked)


async def previous_of(unit: UnitOfWork, model: RowMapping) -> RowMapping | None:
    """The version that a rollback would put into production; None: none can be loaded that is not barred."""
    if model["previous_version"] is None:
        return None
    row = await version_row(unit.connection, model["name"], model["previous_version"])
    return row if row["barred_us"] is None and await is_loadable(unit.connection, row) else None


async def take_canary_back(unit: UnitOfWork, asked: Asked, version: str) -> None:
    """Make the canary a candidate again, at once and without traffic."""
    model = await hold_model(unit, asked.name, asked.revision)
    row = await version_row(unit.connection, asked.name, version)
    if row["stage"] != Stage.CANARY.value:
        raise TransitionRefused(f"{asked.name} {version} is {row['stage']}, not the canary.")
    await set_model(unit, model, canary_share=0)
    await set_stage(unit, row, Stage.CANDIDATE, asked.act("rollback"))
    await replace_work(unit, row)


async def set_traffic(unit: UnitOfWork, asked: Asked, share: int) -> None:
    """Give the canary a share of the studies, in hundredths of a percent.

    Raises:
        ModelUnknown, ModelChanged: as `hold_model`.
        TransitionRefused: the model has no canary.
    """
    model = await hold_model(unit, asked.name, asked.revision)
    canary = await at_stage(unit.connection, asked.name, Stage.CANARY)
    if canary is None:
        raise TransitionRefused(f"{asked.name} has no canary that could get a share.")
    await set_model(unit, model, canary_share=share)
    change = (percent_text(model["canary_share"]), percent_text(share))
    await note(unit, asked.name, canary["version"], asked.act("traffic"), change)


async def set_gate(unit: UnitOfWork, asked: Asked, criteria: Sequence[Criterion] | None) -> None:
    """Say what every version of the model must show; None: what their manifests say.

    Raises:
        ModelUnknown, ModelChanged: as `hold_model`.
        ReasonMissing: no reason is given: what stands before clinicians changes.
    """
    model = await hold_model(unit, asked.name, asked.revision)
    require_reason(asked, "Another gate")
    text = None if criteria is None else msgspec.json.encode(list(criteria)).decode()
    await set_model(unit, model, gate=text)
    await note(unit, asked.name, None, asked.act("gate"), (model["gate"], text))


async def set_limits(unit: UnitOfWork, asked: Asked, limits: Limits) -> None:
    """Say when a version that serves is taken back without being asked."""
    model = await hold_model(unit, asked.name, asked.revision)
    text = msgspec.json.encode(limits).decode()
    await set_model(unit, model, limits=text)
    await note(unit, asked.name, None, asked.act("limits"), (model["limits"], text))


def parse_share(percent: str) -> int:
    """A percentage with at most two decimals, in hundredths of a percent.

    Raises:
        InvalidShare: it is none.
    """
    if not _PERCENT.fullmatch(percent) or (share := int(Decimal(percent) * 100)) > SLOTS:
        raise InvalidShare("A share is a percentage from 0 to 100 with at most two decimals.")
    return share


def percent_text(share: int) -> str:
    """A share for people: "12.5 %"."""
    return f"{share / 100:g} %"


async def _require_room_for_canary(unit: UnitOfWork, name: str, production: RowMapping | None) -> None:
    if production is None:
        raise TransitionRefused(f"{name} has no version in production that a canary could be compared with.")
    canary = await at_stage(unit.connection, name, Stage.CANARY)
    if canary is not None:
        raise TransitionRefused(
            f"{name} {canary['version']} is the canary; promote it to another stage first."
        )


async def _require_passing(
    unit: UnitOfWork, asked: Asked, row: RowMapping, standing: RowMapping | None
) -> None:
    """Let a version serve only when it can be loaded and passes the gate, or for a reason without a gate.

    `standing`: the version in production, or the last that was; nothing is held against itself.
    """
    if standing is not None and standing["version"] == row["version"]:
        standing = None
    if not await is_loadable(unit.connection, row):
        raise FilesGone(f"The files of {asked.name} {row['version']} are not here as they were registered.")
    criteria = await criteria_for(unit.connection, row, standing)
    if not criteria:
        require_reason(asked, f"{asked.name} has no gate: promoting")
        return
    missing = await shortcomings_of(unit.connection, criteria, row, standing)
    if missing:
        raise _refusal(row, missing)


def _refusal(row: RowMapping, missing: Sequence[str]) -> GateRefused:
    return GateRefused(f"{row['name']} {row['version']} does not pass the gate: {'; '.join(missing)}.")


def require_reason(asked: Asked, what: str) -> None:
    """Let nothing be done without words that nothing else justifies.

    Raises:
        ReasonMissing: there is no reason.
    """
    if not (asked.reason or "").strip():
        raise ReasonMissing(f"{what} needs a reason.")


async def _take_over(unit: UnitOfWork, asked: Asked, row: RowMapping, production: RowMapping | None) -> None:
    """Make room in production, and see to it that a rule routes studies to the model."""
    manifest = manifest_of(row)
    if production is not None:
        await set_stage(unit, production, Stage.RETIRED, asked.act("succeeded"))
        await follow_wants(unit, manifest_of(production), manifest)
    ruled = select(RULE.c.name).where(RULE.c.model_name == asked.name)
    if (await unit.execute(ruled)).first() is None:
        await unit.execute(insert(RULE), [default_rule(manifest)])


async def follow_wants(unit: UnitOfWork, before: Manifest, now: Manifest) -> None:
    """A rule that selects just what the version before wanted selects what this one wants, as long after.

    Selections are compared as values: a rule of an earlier release lacks what manifests can say since.
    """
    c = RULE.c
    query = select(c.pk, c.selection, c.quiet_time_s).where(c.model_name == now.name)
    for rule in (await unit.execute(query)).all():
        if not _selects(rule.selection, before):
            continue
        columns: dict[str, object] = {"selection": _selection(now)}
        if rule.quiet_time_s == before.wants.quiet_time_s:
            columns["quiet_time_s"] = now.wants.quiet_time_s
        await unit.execute(update(RULE).where(c.pk == rule.pk).values(**columns))


def _selects(selection: str, manifest: Manifest) -> bool:
    """Whether a rule selects what a manifest wants; one that cannot be read does not."""
    try:
        return selection_of(selection) == manifest.wants
    except msgspec.ValidationError:
        return False


def default_rule(manifest: Manifest) -> dict[str, object]:
    """The rule that routes studies to a model, as its manifest wants them."""
    return {
        "name": manifest.name,
        "model_name": manifest.name,
        "selection": _selection(manifest),
        "quiet_time_s": manifest.wants.quiet_time_s,
        "enabled": True,
        "priority": "MEDIUM",
    }


def _selection(manifest: Manifest) -> str:
    return msgspec.json.encode(manifest.wants).decode()
