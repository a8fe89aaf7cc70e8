"""Which ServiceRequests a study fulfils: those of its patient that carry its accession number (DESIGN §5).

The one place that decides `basedOn`, for ImagingStudy and DiagnosticReport. An order that says it was entered
in error fulfils nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from dicomweb.tables import Study
from fhir.model.systems import DICOM_UID
from fhir.search.definitions import parameters_of
from fhir.search.token import IMPLIED_SYSTEM
from fhir.search.value import bounded
from fhir.tables import FhirResource, SearchReference, SearchToken
from server.kernel.patient_merge import merged_into, survivor_of
from server.kernel.rows import table_of

ORDER = "ServiceRequest"
MAX_ORDERS = 20  # of one study; an accession number stands for one order, seldom for a handful

_RESOURCE, _TOKEN = table_of(FhirResource), table_of(SearchToken)
_REFERENCE, _STUDY = table_of(SearchReference), table_of(Study)


@dataclass(frozen=True, slots=True)
class Accession:
    """An accession number with its issuer as Identifier.system; None: the study states no issuer."""

    number: str
    system: str | None


async def orders_of(
    connection: AsyncConnection, patient_id: str | None, accession: Accession | None
) -> Sequence[str]:
    """The ids of the orders that a study of this patient fulfils; of a study of nobody, none."""
    if patient_id is None or accession is None:
        return ()
    patients = await merged_into(connection, patient_id) | {patient_id}
    found: Sequence[str] = (await connection.execute(_select_orders(patients, accession))).scalars().all()
    return found


async def studies_of_order(connection: AsyncConnection, order_id: str) -> frozenset[str]:
    """The UIDs of the studies that an order concerns: those it may be of, and those that say it is theirs."""
    r = _REFERENCE.c
    order = select(_RESOURCE.c.rid).where(_RESOURCE.c.type == ORDER, _RESOURCE.c.id == order_id)
    rid = order.scalar_subquery()
    subjects = select(r.target_id).where(
        r.rid == rid, r.param == _parameter(ORDER, "subject"), r.target_type == "Patient"
    )
    named = (await connection.execute(subjects)).scalars().all()
    patients = sorted({await survivor_of(connection, each) for each in named})
    codes = select(_TOKEN.c.code).where(
        _TOKEN.c.rid == rid, _TOKEN.c.param == _parameter(ORDER, "identifier")
    )
    candidates = select(_STUDY.c.study_instance_uid).where(
        _STUDY.c.patient_id.in_(patients), _STUDY.c.accession_number.in_(codes)
    )
    found = (await connection.execute(candidates)).scalars().all()
    return frozenset(found) | await _studies_based_on(connection, order_id)


async def _studies_based_on(connection: AsyncConnection, order_id: str) -> frozenset[str]:
    t, r = _TOKEN.c, _REFERENCE.c
    pointing = select(r.rid).where(
        r.param == _parameter("ImagingStudy", "basedon"), r.target_type == ORDER, r.target_id == order_id
    )
    query = select(t.code).where(
        t.rid.in_(pointing), t.param == _parameter("ImagingStudy", "identifier"), t.system == DICOM_UID
    )
    uids = (await connection.execute(query)).scalars()
    return frozenset(uid.removeprefix("urn:oid:") for uid in uids)


def _select_orders(patients: Iterable[str], accession: Accession) -> Select[Any]:
    t, r = _TOKEN.c, _REFERENCE.c
    is_theirs = exists().where(
        r.rid == _RESOURCE.c.rid,
        r.param == _parameter(ORDER, "subject"),
        r.target_type == "Patient",
        r.target_id.in_(sorted(patients)),
    )
    carries = and_(t.param == _parameter(ORDER, "identifier"), t.code == bounded(accession.number))
    if accession.system is not None:
        carries = and_(carries, t.system == bounded(accession.system))
    return (
        select(_RESOURCE.c.id)
        .join(_TOKEN, t.rid == _RESOURCE.c.rid)
        .where(carries, is_theirs, ~_RESOURCE.c.deleted, ~_entered_in_error())
        .group_by(_RESOURCE.c.rid, _RESOURCE.c.id)
        .order_by(_RESOURCE.c.rid)
        .limit(MAX_ORDERS)
    )


def _entered_in_error() -> ColumnElement[bool]:
    status = _TOKEN.alias("status").c
    return exists().where(
        status.rid == _RESOURCE.c.rid,
        status.param == _parameter(ORDER, "status"),
        status.code == "entered-in-error",
        status.system == IMPLIED_SYSTEM,
    )


def _parameter(resource_type: str, code: str) -> int:
    return parameters_of(resource_type)[code].number
