"""What patients deny, as predicates of resource rows (`server/kernel/consents/`).

A resource of several patients is denied when one of them denies it, and one of nobody's record when one of
those denies it of whom it tells (`FhirMention`). The content of a Binary is denied with
anything that its patient denies: it may be of any kind. Labels of deleted resources and of superseded
versions are in no index, so that every label denies them.
"""

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, FromClause
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from fhir.search.shape import Rank, Slot
from fhir.search.value import Term, Values
from server.kernel.access import Denials
from server.kernel.consents.predicate import NotDenied, Thing, columns_of, not_denied_text, values_of

SECURITY = 6  # the number of `_security`, of every type
BINARY = "Binary"


class ResourceNotDenied(NotDenied):
    """Of `rid`, `version_id`, `type` and `deleted`."""

    inherit_cache = True


class VersionNotDenied(NotDenied):
    """Of `rid`, `version_id` and patient of a superseded version, and its type."""

    inherit_cache = True


@compiles(ResourceNotDenied)
def _resource(element: ResourceNotDenied, compiler: SQLCompiler, **kw: Any) -> str:
    rid, version_id, resource_type, deleted = columns_of(element, compiler, **kw)
    is_binary = f"{resource_type} = '{BINARY}'"
    thing = Thing(
        f"fhir_compartment AS c JOIN consent_denial AS d ON d.patient_id = c.patient_id WHERE c.rid = {rid}",
        resource_type,
        f"fhir_search_token AS t WHERE t.rid = {rid} AND t.param = {SECURITY}",
        f"{deleted} OR {is_binary}",
        is_binary,
    )
    # Twice, each for its own patients: so PostgreSQL may join denials as a whole.
    told = replace(thing, denials=_of_told(rid, version_id))
    unless = " AND ".join(not_denied_text(element, each, compiler, **kw) for each in (thing, told))
    return f"({unless})"


@compiles(VersionNotDenied)
def _version(element: VersionNotDenied, compiler: SQLCompiler, **kw: Any) -> str:
    rid, version_id, patient_id, resource_type = columns_of(element, compiler, **kw)
    denials = f"consent_denial AS d WHERE d.patient_id = {patient_id}"
    thing = Thing(denials, resource_type, None, None, f"{resource_type} = '{BINARY}'")
    told = replace(thing, denials=_of_told(rid, version_id))
    is_known = f"({patient_id} IS NOT NULL OR EXISTS ({_told(rid, version_id)}))"
    unless = " AND ".join(not_denied_text(element, each, compiler, **kw) for each in (thing, told))
    return f"({is_known} AND {unless})"


def _of_told(rid: str, version_id: str) -> str:
    """The denials of those of whom a version tells."""
    mine = f"m.rid = {rid} AND m.version_id = {version_id}"
    return f"fhir_mention AS m JOIN consent_denial AS d ON d.patient_id = m.patient_id WHERE {mine}"


def _told(rid: str, version_id: str) -> str:
    return f"SELECT m.patient_id FROM fhir_mention AS m WHERE m.rid = {rid} AND m.version_id = {version_id}"  # noqa: S608  our own names


def not_denied(r: FromClause, terms: tuple[Any, ...]) -> ColumnElement[bool]:
    """No patient whose record the resource is part of denies it."""
    return ResourceNotDenied(terms, r.c.rid, r.c.version_id, r.c.type, r.c.deleted)


def version_not_denied(r: FromClause, version: FromClause, terms: tuple[Any, ...]) -> ColumnElement[bool]:
    """No patient whose record a superseded version was part of, or of whom it told, denies it.

    Of which that is not known, somebody does.
    """
    return VersionNotDenied(terms, version.c.rid, version.c.version_id, version.c.patient_id, r.c.type)


def terms_of(denials: Denials) -> tuple[Any, ...]:
    """The terms with their values."""
    return values_of(denials)


def term_of(denials: Denials) -> Term:
    """The values as those of a search."""
    return Term("denials", values_of(denials))


@dataclass(frozen=True, slots=True)
class Undenied:
    """The shape of `not_denied` (`fhir/search/shape.py`)."""

    slot: Slot
    rank: Rank = Rank.NEVER

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """As asked of one."""
        return self.holds(r, values)

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """By the patients of the resource."""
        return not_denied(r, tuple(self.slot.of(values)))
