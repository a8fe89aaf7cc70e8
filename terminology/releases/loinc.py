"""What is particular to LOINC: filters by its hierarchy, and value sets that its identifiers stand for.

Filters `parent`, `ancestor` and `child` name a part or a term (terminology.hl7.org/LOINC.html). The value set
`http://loinc.org/vs` has all terms, parts and answers; `http://loinc.org/vs/LL…` the answers of a list, in
the order of the list.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import bindparam, select

from server.kernel.rows import table_of
from terminology.code_system import Filter, FilterOperator
from terminology.library import Edition, Kind
from terminology.releases.conditions import CONCEPT, Condition, Conditions, upwards
from terminology.releases.source import Releases
from terminology.releases.system import ReleasedCodeSystem
from terminology.tables import TerminologyMember

Json = Any

LOINC = "http://loinc.org"
VALUE_SETS = f"{LOINC}/vs"
MEMBER = table_of(TerminologyMember)

_ANSWERS = (
    select(CONCEPT.c.code)
    .join(MEMBER, (MEMBER.c.release_id == CONCEPT.c.release_id) & (MEMBER.c.concept == CONCEPT.c.number))
    .where(MEMBER.c.release_id == bindparam("release_id"), MEMBER.c.refset == bindparam("list"))
    .order_by(MEMBER.c.n, CONCEPT.c.number)
)
_BY_RELATIVE: Mapping[str, Callable[[Conditions, int], Condition]] = {
    "parent": Conditions.right_below,
    "ancestor": Conditions.below,
    "child": lambda make, number: upwards(make, number, parents_only=True),
    "descendant": upwards,
}


async def filter_loinc(system: ReleasedCodeSystem, asked: Filter) -> Condition | None:
    """The condition of a filter by the hierarchy; None: it is another one."""
    by_relative = _BY_RELATIVE.get(asked.property)
    if by_relative is None or asked.operator is not FilterOperator.EQUALS:
        return None
    number = await system.number(asked.value)
    return system.make.nothing() if number is None else by_relative(system.make, number)


class LoincValueSets:
    """A `library.Source` of the value sets that LOINC defines without listing them."""

    def __init__(self, releases: Releases) -> None:
        self._releases = releases

    async def editions(self, kind: Kind, url: str) -> Sequence[Edition]:
        """The value set of each release."""
        if kind is not Kind.VALUE_SET or not (url == VALUE_SETS or url.startswith(f"{VALUE_SETS}/")):
            return ()
        found = []
        for system in await self._releases.systems():
            if system.header.url != LOINC:
                continue
            if url == VALUE_SETS:
                found.append(_edition(url, system, partial(_all_of, system)))
                continue
            number = await system.number(url.removeprefix(f"{VALUE_SETS}/"))
            if number is not None and (answers := await _answers(system, number)):
                found.append(_edition(url, system, partial(_listed, url, system, answers)))
        return found

    async def supplements(self, system_url: str) -> Sequence[Edition]:  # noqa: ARG002  it has none
        """None."""
        return ()

    async def listing(self, kind: Kind) -> Sequence[Edition]:
        """The value sets of everything; those of lists are too many to be told."""
        return await self.editions(kind, VALUE_SETS)


def _edition(url: str, system: ReleasedCodeSystem, make: Callable[[], Awaitable[Json]]) -> Edition:
    return Edition(Kind.VALUE_SET, url, system.header.version, make)


async def _answers(system: ReleasedCodeSystem, number: int) -> Sequence[str]:
    values = {"release_id": system.release_id, "list": number}
    async with system.database.read() as connection:
        return list((await connection.execute(_ANSWERS, values)).scalars())


async def _all_of(system: ReleasedCodeSystem) -> Json:
    return _value_set(VALUE_SETS, system, {})


async def _listed(url: str, system: ReleasedCodeSystem, answers: Sequence[str]) -> Json:
    return _value_set(url, system, {"concept": [{"code": code} for code in answers]})


def _value_set(url: str, system: ReleasedCodeSystem, included: Json) -> Json:
    version = {} if system.header.version is None else {"version": system.header.version}
    return {
        "resourceType": "ValueSet",
        "url": url,
        **version,
        "status": "active",
        "compose": {"include": [{"system": LOINC, **version, **included}]},
    }
