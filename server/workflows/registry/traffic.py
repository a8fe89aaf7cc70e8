"""Which version of a model gets a study: by a stable hash, so that the answer stays while the share does.

A share that grows keeps the studies that it had. A study that a version was given stays with it for as long
as it serves: results of one study are compared with each other, and should not differ by the version.
"""

from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ai_engine.tables import Model, ModelVersion
from dicomweb.worklist.tables import Workitem
from server.kernel.rows import table_of
from server.workflows.registry.stages import SERVING, Stage

SLOTS = 10_000  # a share is told in hundredths of a percent

_MODEL, _VERSION, _WORKITEM = table_of(Model), table_of(ModelVersion), table_of(Workitem)


@dataclass(frozen=True, slots=True)
class Serving:
    """The versions of a model that serve; None: no version is at that stage."""

    production: str | None
    canary: str | None
    canary_share: int  # of `SLOTS`

    def version_for(self, model_name: str, study_instance_uid: str, standing: str | None) -> str | None:
        """The version that gets a study; `standing`: the one that had it last. None: none serves."""
        canary = self.canary if self.canary_share else None
        if self.production is None:
            return None
        if standing is not None and standing in (self.production, canary):
            return standing
        in_share = slot_of(model_name, study_instance_uid) < self.canary_share
        return canary if canary is not None and in_share else self.production


def slot_of(model_name: str, study_instance_uid: str) -> int:
    """The slot of a study, from 0; another one for each model: not always the same patients come first."""
    digest = sha256(f"{model_name}\x00{study_instance_uid}".encode()).digest()
    return int.from_bytes(digest[:8]) % SLOTS


async def serving(connection: AsyncConnection, model_name: str) -> Serving:
    """The versions of a model that serve now."""
    v = _VERSION.c
    query = (
        select(v.version, v.stage, _MODEL.c.canary_share)
        .join(_MODEL, _MODEL.c.name == v.name)
        .where(v.name == model_name, v.stage.in_([stage.value for stage in SERVING]))
    )
    rows = {row.stage: row for row in await connection.execute(query)}
    production, canary = rows.get(Stage.PRODUCTION.value), rows.get(Stage.CANARY.value)
    return Serving(
        production.version if production else None,
        canary.version if canary else None,
        canary.canary_share if canary else 0,
    )


async def version_for(connection: AsyncConnection, model_name: str, study_instance_uid: str) -> str | None:
    """The version that gets a study now, whoever asks for it; None: no version of the model serves."""
    w = _WORKITEM.c
    last = select(w.model_version).where(w.study_instance_uid == study_instance_uid)
    last = last.where(w.model_name == model_name).order_by(w.pk.desc()).limit(1)
    standing = (await connection.execute(last)).scalar_one_or_none()
    return (await serving(connection, model_name)).version_for(model_name, study_instance_uid, standing)
