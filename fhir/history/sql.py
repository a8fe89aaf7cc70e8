"""Versions, newest first, as SQL: the current ones and the superseded ones, each from its own index.

A superseded version is seen where it was within the caller's reach and its resource still is. Of one
resource the order is that of its versions; of several, that of their times.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, literal, or_, select, tuple_, union_all

from fhir.history.query import HistoryQuery
from fhir.interactions.reaches import Reaches, predicate_of
from fhir.search.compartment import SHARED_TYPES
from fhir.search.denied import terms_of, version_not_denied
from fhir.search.order import After
from fhir.search.reach import AUDITED_PATIENT, R
from fhir.tables import FhirResourceVersion
from server.kernel.rows import table_of

VERSION = table_of(FhirResourceVersion)
_LATER = VERSION.alias()


def select_history(
    query: HistoryQuery, reaches: Reaches, after: After | None, before_us: int | None
) -> Select[Any]:
    """One more than a page: rid, type, id, version_id, last_updated_us, deleted, body.

    Of one resource `patient_id` too, as audit has it: whose it is now.
    `before_us` leaves out what is not settled yet (`server.kernel.horizon`).
    """
    limit = query.count + 1
    parts = []
    for source, terms in ((R, _of_current(query, reaches)), (VERSION, _of_superseded(query, reaches))):
        columns = (source.c.rid, R.c.type, R.c.id, source.c.version_id, source.c.last_updated_us)
        rows = select(*columns, source.c.deleted, source.c.body)
        if query.resource_id is not None:
            rows = rows.add_columns(AUDITED_PATIENT.label("patient_id"))
        if source is VERSION:
            rows = rows.select_from(VERSION.join(R, R.c.rid == VERSION.c.rid))
        if query.since_us is not None:
            rows = rows.where(source.c.last_updated_us >= query.since_us)
        if before_us is not None:
            rows = rows.where(source.c.last_updated_us < before_us)
        if after is not None:
            rows = rows.where(_beyond(query, source.c, after))
        parts.append(rows.where(*terms).order_by(*_order(query, source.c)).limit(limit).subquery())
    found = union_all(*(select(part) for part in parts)).subquery()
    return select(found).order_by(*_order(query, found.c)).limit(limit)


def _of_current(query: HistoryQuery, reaches: Reaches) -> Sequence[ColumnElement[bool]]:
    terms = [_named(query), predicate_of(reaches)]
    if query.at is not None:
        terms.append(R.c.last_updated_us < query.at.high_us)
    return terms


def _of_superseded(query: HistoryQuery, reaches: Reaches) -> Sequence[ColumnElement[bool]]:
    terms = [_named(query), predicate_of(reaches), _was_open(reaches)]
    if query.at is not None:
        ended = func.coalesce(
            select(_LATER.c.last_updated_us)
            .where(_LATER.c.rid == VERSION.c.rid, _LATER.c.version_id == VERSION.c.version_id + 1)
            .scalar_subquery(),
            R.c.last_updated_us,
        )
        terms += [VERSION.c.last_updated_us < query.at.high_us, ended > query.at.low_us]
    return terms


def _named(query: HistoryQuery) -> ColumnElement[bool]:
    if query.resource_type is None:
        return literal(True)
    if query.resource_id is None:
        return R.c.type == query.resource_type
    return and_(R.c.type == query.resource_type, R.c.id == query.resource_id)


def _was_open(reaches: Reaches) -> ColumnElement[bool]:
    """The version was within reach (`FhirResourceVersion.patient_id`), and is not denied."""
    denials = next((reach.denials for reach in reaches.values() if reach.denials is not None), None)
    if denials is None:
        return _was_of_them(reaches)
    return and_(version_not_denied(R, VERSION, terms_of(denials)), _was_of_them(reaches))


def _was_of_them(reaches: Reaches) -> ColumnElement[bool]:
    confined = {name: reach for name, reach in reaches.items() if reach.patient_ids is not None}
    if not confined:
        return literal(True)
    patients = sorted({patient for reach in confined.values() for patient in reach.patient_ids or ()})
    shared = sorted(SHARED_TYPES & confined.keys())
    return or_(
        R.c.type.not_in(sorted(confined)),
        VERSION.c.patient_id.in_(patients),
        and_(VERSION.c.patient_id == "", R.c.type.in_(shared)),
    )


def _order(query: HistoryQuery, columns: Any) -> Sequence[ColumnElement[Any]]:
    if query.resource_id is not None:
        return [columns.version_id.desc()]
    return [columns.last_updated_us.desc(), columns.rid.desc(), columns.version_id.desc()]


def _beyond(query: HistoryQuery, columns: Any, after: After) -> ColumnElement[bool]:
    last_updated_us, version_id = after.values
    if query.resource_id is not None:
        older: ColumnElement[bool] = columns.version_id < version_id
        return older
    position = tuple_(columns.last_updated_us, columns.rid, columns.version_id)
    return position < tuple_(literal(last_updated_us), literal(after.rid), literal(version_id))
