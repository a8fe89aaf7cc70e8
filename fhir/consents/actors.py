"""By which references a Consent may name somebody: their own, their roles', those of their organizations.

Read from the search index, as the roles are stored: who may write PractitionerRoles decides who is whose.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, false, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.search.definitions import parameters_of
from fhir.search.reach import R
from fhir.tables import SearchReference, SearchToken
from server.kernel.rows import table_of

ROLE, PRACTITIONER, ORGANIZATION = "PractitionerRole", "Practitioner", "Organization"
MAX_ROLES = 1_000  # of one person; who has more cannot be compared with every Consent
_REFERENCE, _TOKEN = table_of(SearchReference), table_of(SearchToken)


async def actors_of(connection: AsyncConnection, fhir_user: str) -> frozenset[str] | None:
    """The references for a user of this fhirUser, relative; roles that are not active count for nothing.

    None: the roles are more than `MAX_ROLES`.
    """
    kind, _, resource_id = fhir_user.partition("/")
    if kind not in (PRACTITIONER, ROLE):
        return frozenset({fhir_user})
    found = {fhir_user}
    roles = (await connection.execute(_select_roles(kind, resource_id))).all()
    if len(roles) > MAX_ROLES:
        return None
    found |= {f"{ROLE}/{row.id}" for row in roles}
    rids = [row.rid for row in roles]
    codes = ("organization",) if kind == PRACTITIONER else ("organization", "practitioner")
    for row in (await connection.execute(_select_pointed(rids, codes))).all():
        found.add(f"{row.target_type}/{row.target_id}")
    return frozenset(found)


def _select_roles(kind: str, resource_id: str) -> Select[Any]:
    t = _TOKEN.c
    inactive = select(t.rid).where(t.rid == R.c.rid, t.param == _number("active"), t.code == "false")
    live = (R.c.type == ROLE, R.c.deleted == false(), ~inactive.correlate(R).exists())
    rows = select(R.c.rid, R.c.id).where(*live).order_by(R.c.rid).limit(MAX_ROLES + 1)
    if kind == ROLE:
        return rows.where(R.c.id == resource_id)
    c = _REFERENCE.c
    pointing = select(c.rid).where(
        c.param == _number("practitioner"), c.target_id == resource_id, c.target_type == PRACTITIONER
    )
    return rows.where(R.c.rid.in_(pointing))


def _select_pointed(rids: Sequence[int], codes: Sequence[str]) -> Select[Any]:
    c = _REFERENCE.c
    of_roles = select(c.target_type, c.target_id).where(c.rid.in_(rids), c.param.in_(map(_number, codes)))
    return of_roles.where(c.target_type.in_((ORGANIZATION, PRACTITIONER)), c.target_id.is_not(None))


def _number(code: str) -> Any:
    return literal_column(str(parameters_of(ROLE)[code].number))
