"""Placing a legal hold on what is known here: a hold with a slip in its identifier would hold nothing."""

from sqlalchemy import select

from dicomweb.delete.holds import HoldOrder, place_hold
from fhir.interactions.read import read_resource
from server.kernel.access import Principal
from server.kernel.database import UnitOfWork
from server.kernel.faults import NotFound
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import PatientIdentity

_IDENTITY = table_of(PatientIdentity)


async def hold(services: Services, order: HoldOrder, principal: Principal) -> int:
    """Place a hold; returns its number.

    Raises:
        NotFound: there is no such study or Patient.
    """

    async def work(unit: UnitOfWork) -> int:
        if order.patient_id is not None and not await _is_patient(unit, order.patient_id):
            raise NotFound("There is no such Patient.")
        return await place_hold(unit, order, principal)

    return await services.database.transact(work)


async def _is_patient(unit: UnitOfWork, patient_id: str) -> bool:
    """Whether the record has this Patient, or will have it as soon as it is projected."""
    known = select(_IDENTITY.c.id).where(_IDENTITY.c.patient_id == patient_id).limit(1)
    if (await unit.execute(known)).first() is not None:
        return True
    return await read_resource(unit.connection, "Patient", patient_id) is not None
