"""The Device that a version of a model is in the record: made when it is registered, inactive once retired.

It is the one that reports refer to (`server.workflows.report.devices`). A report that would write it again
leaves it to the registry, which knows whether the version still serves.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from ai_engine.encode.uids import device_uid
from ai_engine.findings import ModelIdentity
from ai_engine.tables import ModelVersion
from fhir.interactions.authored import put_resource
from fhir.model import systems
from fhir.model.builders.datatypes import coding, concept
from fhir.model.builders.results import DeviceFacts, device
from fhir.search.reach import R
from server.kernel.access import Principal
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.workflows.registry.stages import Stage
from server.workflows.report.devices import device_id

DEVICE = "Device"

_VERSION = table_of(ModelVersion)


def device_of(model: ModelIdentity, stage: Stage) -> dict[str, Any]:
    """The Device (FHIR R4 device.html); software of ours has no UDI, so it states none."""
    family = coding(systems.OF_SCHEME.get(model.family.scheme), model.family.value, model.family.meaning)
    facts = DeviceFacts(
        device_id_of(model),
        model.title,
        model.name,
        model.version,
        model.manufacturer,
        uid=device_uid(model),
        type=concept(family, text=model.family.meaning),
        notes=(model.intended_use,),
    )
    return device(facts) | {"status": "inactive" if stage is Stage.RETIRED else "active"}


def device_id_of(model: ModelIdentity) -> str:
    """The id that a report's mapping gives the same version."""
    return device_id(model.manufacturer, model.name, model.version)


async def write_device(unit: UnitOfWork, model: ModelIdentity, stage: Stage, principal: Principal) -> None:
    """Bring the Device of a version up to date."""
    await put_resource(unit, device_of(model, stage), principal)


async def of_the_registry(unit: UnitOfWork, device_ids: Sequence[str]) -> frozenset[str]:
    """Which of these Devices the registry wrote, and are there."""
    if not device_ids:
        return frozenset()
    ours = select(_VERSION.c.device_id).where(_VERSION.c.device_id.in_(device_ids))
    there = select(R.c.id).where(R.c.type == DEVICE, R.c.id.in_(ours), ~R.c.deleted)
    return frozenset((await unit.execute(there)).scalars())
