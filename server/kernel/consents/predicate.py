"""Whether something is not denied to a caller, as SQL over `consent_denial` and `consent_exception`.

A denial wins over every permit but the exceptions of its own rule. Who builds a statement says where the
labels of a thing are; where they are not known, every label denies and none excepts. A denial counts what has
no label of confidentiality as normal, an exception does not: the closed side of both.

Written as text: to build it out of elements costs more than to execute it. Nothing of a request is in the
text, its values are bound.
"""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Boolean, ColumnElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from server.kernel.access import Denials
from server.kernel.consents.labels import CONFIDENTIALITY, NO_RANK, NORMAL, RANKS
from server.kernel.one_of import texts

ANY = "*"  # an actor, or a resource type
NUMBER_OF_TERMS = 5


def values_of(denials: Denials) -> tuple[Any, ...]:
    """What a caller's denials are looked for by: actors, acts, own, exempt, now."""
    lists = ((ANY, *denials.actors), denials.acts, denials.own, denials.exempt)
    return (*(orjson.dumps(sorted(each)).decode() for each in lists), denials.at_us)


class NotDenied(FunctionElement[bool]):
    """No denial of the caller's meets the thing: of its columns, and of the `values_of` (`terms`).

    Each subclass, one for each kind of thing, has its compiler, which calls `not_denied_text`.
    """

    inherit_cache = True
    type = Boolean()

    def __init__(self, terms: tuple[Any, ...], *columns: ColumnElement[Any]) -> None:
        assert len(terms) == NUMBER_OF_TERMS
        super().__init__(*map(texts, terms[:-1]), terms[-1], *columns)


@dataclass(frozen=True, slots=True)
class Thing:
    """What may be denied, in SQL; `d` is the row of a denial, `t` a label of the thing."""

    denials: str  # FROM … WHERE: those of whose it is
    resource_type: str
    labels: str | None  # FROM … WHERE: its labels; None: they are not known
    is_unlabelled: str | None = None  # where, of such things, labels are not known all the same
    is_of_any_type: str | None = None  # where a denial of any type is one of it


def columns_of(element: NotDenied, compiler: SQLCompiler, **kw: Any) -> list[str]:
    """The columns that the element was given, as SQL."""
    return [compiler.process(each, **kw) for each in list(element.clauses)[NUMBER_OF_TERMS:]]


def not_denied_text(element: NotDenied, thing: Thing, compiler: SQLCompiler, **kw: Any) -> str:
    """The condition."""
    terms = [compiler.process(each, **kw) for each in list(element.clauses)[:NUMBER_OF_TERMS]]
    actors, acts, own, exempt, at_us = terms
    any_type = "" if thing.is_of_any_type is None else f" OR {thing.is_of_any_type}"

    # PostgreSQL seeks in an index by an array only.
    among = f"IN {actors}" if compiler.dialect.name == "sqlite" else f"= ANY(ARRAY{actors})"

    def meets(rule: str) -> str:
        return f"{rule}.actor {among} AND {rule}.starts_us <= {at_us} AND {rule}.ends_us > {at_us}"

    return (  # our own names, and what the compiler made of columns and bound values
        f"NOT EXISTS (SELECT 1 FROM {thing.denials} AND {meets('d')} AND d.action IN {acts}"  # noqa: S608
        f" AND d.patient_id NOT IN {exempt} AND (d.actor <> '{ANY}' OR d.patient_id NOT IN {own})"
        f" AND (d.resource_type = '{ANY}' OR d.resource_type = {thing.resource_type}{any_type})"
        f" AND ({_of_denial(thing)}) AND NOT EXISTS (SELECT 1 FROM consent_exception AS e"
        f" WHERE e.rid = d.rid AND e.node = d.node AND {meets('e')}"
        f" AND (e.resource_type = '{ANY}' OR e.resource_type = {thing.resource_type})"
        f" AND ({_of_exception(thing)})))"
    )


def _of_denial(thing: Thing) -> str:
    if thing.labels is None:
        return "1 = 1"
    unknown = "" if thing.is_unlabelled is None else f" OR {thing.is_unlabelled}"
    rank = f"coalesce({_rank(thing.labels)}, {NORMAL})"
    by_rank = f"d.rank <> {NO_RANK} AND {rank} >= d.rank"
    return f"{_asks_for_none('d')}{unknown} OR {by_rank} OR d.code <> '' AND {_has(thing.labels, 'd')}"


def _of_exception(thing: Thing) -> str:
    if thing.labels is None:
        return _asks_for_none("e")
    known = "1 = 1" if thing.is_unlabelled is None else f"NOT ({thing.is_unlabelled})"
    by_rank = f"e.rank <> {NO_RANK} AND coalesce({_rank(thing.labels)}, {len(RANKS)}) <= e.rank"
    by_label = f"e.code <> '' AND {_has(thing.labels, 'e')}"
    return f"{_asks_for_none('e')} OR {known} AND ({by_rank} OR {by_label})"


def _asks_for_none(rule: str) -> str:
    return f"{rule}.code = '' AND {rule}.rank = {NO_RANK}"


def _has(labels: str, rule: str) -> str:
    return f"EXISTS (SELECT 1 FROM {labels} AND t.system = {rule}.system AND t.code = {rule}.code)"  # noqa: S608  our own names


def _rank(labels: str) -> str:
    """The most restricted label of confidentiality; null: there is none."""
    ranks = " ".join(f"WHEN '{code}' THEN {rank}" for code, rank in RANKS.items())
    highest = f"max(CASE t.code {ranks} ELSE {len(RANKS) - 1} END)"
    return f"(SELECT {highest} FROM {labels} AND t.system = '{CONFIDENTIALITY}')"  # noqa: S608  our own names
