"""Whether something is denied to a caller, as SQL over `consent_denial` and `consent_exception`.

A denial wins over every permit but the exceptions of its own rule. Who builds a statement says where the
labels of a thing are; where they are not known, every label denies and none excepts. A denial counts what has
no label of confidentiality as normal, an exception does not: the closed side of both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, FromClause, and_, case, exists, func, or_, select, true

from server.kernel.access import Denials
from server.kernel.consents.labels import CONFIDENTIALITY, NO_RANK, NORMAL, RANKS
from server.kernel.one_of import one_of
from server.kernel.rows import table_of
from server.kernel.tables import ConsentDenial, ConsentException

DENIAL, EXCEPTION = table_of(ConsentDenial), table_of(ConsentException)
ANY = "*"  # an actor, or a resource type

# The labels of the thing: a table with `system` and `code`, and which of its rows are the thing's.
Labels = Callable[[], tuple[FromClause, ColumnElement[bool]]]


@dataclass(frozen=True, slots=True)
class Terms:
    """The values of `values_of`, as they stand in the statement."""

    actors: Any
    acts: Any
    own: Any
    exempt: Any
    at_us: Any


NUMBER_OF_TERMS = 5


def values_of(denials: Denials) -> tuple[Any, ...]:
    """What a caller's denials are looked for by, in the order of `Terms`."""
    lists = ((ANY, *denials.actors), denials.acts, denials.own, denials.exempt)
    return (*(orjson.dumps(sorted(each)).decode() for each in lists), denials.at_us)


@dataclass(frozen=True, slots=True)
class Thing:
    """What may be denied, as columns of the statement."""

    resource_type: Any
    labels: Labels | None  # None: they are not known
    is_unlabelled: ColumnElement[bool] | None = (
        None  # where, of such things, labels are not known all the same
    )
    is_of_any_type: ColumnElement[bool] | None = None  # where a denial of any type is one of it


def denying(denial: FromClause, terms: Terms, thing: Thing) -> ColumnElement[bool]:
    """This row of `DENIAL` denies the thing to the caller; whose the thing is, the caller of this says."""
    d = denial.c
    types = [d.resource_type == ANY, d.resource_type == thing.resource_type]
    if thing.is_of_any_type is not None:
        types.append(thing.is_of_any_type)
    exception = EXCEPTION.alias()
    e = exception.c
    excepted = exists(
        select(e.rid)
        .where(
            e.rid == d.rid,
            e.node == d.node,
            *_meets(e, terms),
            or_(e.resource_type == ANY, e.resource_type == thing.resource_type),
            or_(*_labels_of_exception(e, thing)),
        )
        .correlate_except(exception)
    )
    return and_(
        *_meets(d, terms),
        one_of(d.action, terms.acts),
        ~one_of(d.patient_id, terms.exempt),
        or_(d.actor != ANY, ~one_of(d.patient_id, terms.own)),
        or_(*types),
        or_(*_labels_of_denial(d, thing)),
        ~excepted,
    )


def _meets(rule: Any, terms: Terms) -> Sequence[ColumnElement[bool]]:
    """The rule is about the caller, now."""
    return one_of(rule.actor, terms.actors), rule.starts_us <= terms.at_us, rule.ends_us > terms.at_us


def _labels_of_denial(d: Any, thing: Thing) -> Sequence[ColumnElement[bool]]:
    if thing.labels is None:
        return (true(),)
    unknown = [] if thing.is_unlabelled is None else [thing.is_unlabelled]
    rank = func.coalesce(_rank(thing.labels), NORMAL)
    return (
        _asks_for_none(d),
        *unknown,
        and_(d.rank != NO_RANK, rank >= d.rank),
        and_(d.code != "", _has(thing.labels, d)),
    )


def _labels_of_exception(e: Any, thing: Thing) -> Sequence[ColumnElement[bool]]:
    if thing.labels is None:
        return (_asks_for_none(e),)
    known = true() if thing.is_unlabelled is None else ~thing.is_unlabelled
    by_rank = and_(known, e.rank != NO_RANK, func.coalesce(_rank(thing.labels), len(RANKS)) <= e.rank)
    return _asks_for_none(e), by_rank, and_(known, e.code != "", _has(thing.labels, e))


def _asks_for_none(rule: Any) -> ColumnElement[bool]:
    return and_(rule.code == "", rule.rank == NO_RANK)


def _has(labels: Labels, rule: Any) -> ColumnElement[bool]:
    table, of_thing = labels()
    c = table.c
    found = select(c.code).where(of_thing, c.system == rule.system, c.code == rule.code)
    return found.correlate_except(table).exists()


def _rank(labels: Labels) -> ColumnElement[int]:
    """The most restricted label of confidentiality; null: there is none."""
    table, of_thing = labels()
    c = table.c
    highest = select(func.max(case(RANKS, value=c.code, else_=len(RANKS) - 1)))
    of_confidentiality = highest.where(of_thing, c.system == CONFIDENTIALITY)
    return of_confidentiality.correlate_except(table).scalar_subquery()
