"""What patients deny, as predicates of resource rows (`server/kernel/consents/`).

A resource of several patients is denied when one of them denies it. The content of a Binary is denied with
anything that its patient denies: it may be of any kind. Labels of deleted resources and of superseded
versions are in no index, so that every label denies them.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, exists, literal_column, or_, select, true

from fhir.search.shape import Rank, Slot
from fhir.search.value import Term, Values
from fhir.tables import FhirCompartment, SearchToken
from server.kernel.access import Denials
from server.kernel.consents.predicate import DENIAL, NUMBER_OF_TERMS, Labels, Terms, Thing, denying, values_of
from server.kernel.rows import table_of

COMPARTMENT, TOKEN = table_of(FhirCompartment), table_of(SearchToken)
SECURITY = 6  # the number of `_security`, of every type
BINARY = "Binary"


def not_denied(r: FromClause, terms: Terms) -> ColumnElement[bool]:
    """No patient whose record the resource is part of denies it."""
    c, d = COMPARTMENT.alias(), DENIAL.alias()
    is_binary = r.c.type == BINARY
    thing = Thing(r.c.type, _labels_of(r), or_(r.c.deleted == true(), is_binary), is_binary)
    mine = and_(c.c.rid == r.c.rid, d.c.patient_id == c.c.patient_id)
    return ~exists(select(d.c.rid).where(mine, denying(d, terms, thing)).correlate_except(c, d))


def version_not_denied(r: FromClause, version: FromClause, terms: Terms) -> ColumnElement[bool]:
    """The patient whose record a superseded version was part of denies nothing of it; several may have."""
    d = DENIAL.alias()
    thing = Thing(r.c.type, None, None, r.c.type == BINARY)
    theirs = select(d.c.rid).where(d.c.patient_id == version.c.patient_id, denying(d, terms, thing))
    return and_(version.c.patient_id.is_not(None), ~exists(theirs.correlate_except(d)))


def terms_of(denials: Denials) -> Terms:
    """The terms with their values."""
    return Terms(*values_of(denials))


def term_of(denials: Denials) -> Term:
    """The values as those of a search."""
    return Term("denials", values_of(denials))


@dataclass(frozen=True, slots=True)
class NotDenied:
    """The shape of `not_denied` (`fhir/search/shape.py`)."""

    slot: Slot
    rank: Rank = Rank.NEVER

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """As asked of one."""
        return self.holds(r, values)

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """By the patients of the resource."""
        given: list[Any] = list(self.slot.of(values))
        assert len(given) == NUMBER_OF_TERMS
        return not_denied(r, Terms(*given))


def _labels_of(r: FromClause) -> Labels:
    def labels() -> tuple[FromClause, ColumnElement[bool]]:
        t = TOKEN.alias()
        return t, and_(t.c.rid == r.c.rid, t.c.param == literal_column(str(SECURITY)))

    return labels
