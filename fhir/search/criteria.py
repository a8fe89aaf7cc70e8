"""One search criterion: `code[:modifier]`, chained `reference[:Type].…`, or `_has:Type:reference:…`.

What FHIR defines and this server does not offer is refused: leaving it out would widen the result.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from fhir.search.conditions import (
    Both,
    Chain,
    Condition,
    Criterion,
    Either,
    FullText,
    Has,
    Near,
    Unless,
)
from fhir.search.definitions import (
    SearchParameter,
    SearchType,
    parameters_of,
    stored_types,
    unsupported_codes,
)
from fhir.search.extract import datatypes_of
from fhir.search.filter import Comparison, Filter, Negation, Together, parse_filter
from fhir.search.filtered import NEGATED, compared
from fhir.search.full_text import COLUMN_OF
from fhir.search.kinds import KINDS
from fhir.search.near import LOCATION, NEAR
from fhir.search.token import OF_TYPE
from fhir.search.value import InvalidSearch, UnsupportedSearch, split_escaped
from server.kernel.access import Access, Permission, Reach
from server.kernel.faults import Forbidden

MAX_VALUES = 500  # joined by commas in one parameter
MAX_VALUES_TOGETHER = 2_000  # of one search: each binds a few variables, and databases bound their number
MAX_POSITIONS = 10  # in one `near`
SUBQUERY = 10  # values that one of a composite, or a comparison of `_filter`, counts as: it is a subquery
MAX_CHAIN_DEPTH = 5  # links of one chain: each is a join
MAX_LINKS = 200  # of one search, over all types that its chains may lead to

REVERSE_CHAIN = "_has"
LIST = "_list"
FILTER = "_filter"
NOT_OFFERED = frozenset({"_graph"})  # it narrows a search

Rest = Callable[
    [str, int], "Condition | None"
]  # (resource type, depth) -> what is asked at the end of a link


class UnknownParameter(Exception):
    """The type has no such parameter; whether that matters is for the caller to say."""


@dataclass(slots=True)
class Criteria:
    """Reads the criteria of one search and counts what they cost; `access` None: no chains are offered."""

    access: Access | None
    values: int = 0
    links: int = 0

    def read(self, resource_type: str, name: str, value: str, depth: int = 0) -> Condition | None:
        """The condition of a name and a value; None: no value, as if absent (search.html#errors).

        Raises:
            UnknownParameter: the type has no such parameter.
            InvalidSearch, UnsupportedSearch: see `fhir.search.query.parse_query`.
            Forbidden: a chain leads to a type that the caller may not search.
        """
        if name.startswith(f"{REVERSE_CHAIN}:"):
            return self._read_has(resource_type, name, value, depth)
        if name == LIST:
            return self._read_list(value, depth)
        if name == FILTER:
            return self._read_filter(resource_type, parse_filter(value), depth) if value else None
        head, dot, rest = name.partition(".")
        code, _, modifier = head.partition(":")
        if code in COLUMN_OF:
            return self._read_words(code, modifier, value)
        if (resource_type, code) == (LOCATION, NEAR) and not dot:
            return self._read_near(modifier, value)
        if code in NOT_OFFERED or code in unsupported_codes():
            raise UnsupportedSearch(f"The search parameter '{code}' is not supported.")
        parameter = parameters_of(resource_type).get(code)
        if parameter is None:
            raise UnknownParameter(code)
        if dot:
            return self._read_chain(parameter, modifier or None, self._asking(rest, value), depth)
        return self._read_plain(parameter, modifier or None, value)

    def _asking(self, name: str, value: str) -> Rest:
        return lambda resource_type, depth: self.read(resource_type, name, value, depth)

    def _read_plain(self, parameter: SearchParameter, modifier: str | None, value: str) -> Condition | None:
        code = parameter.code
        if modifier == "missing":
            return Criterion(parameter, None, (), _boolean(code, value))
        if value == "":
            return None
        if modifier is not None and modifier not in modifiers_of(parameter):
            raise UnsupportedSearch(f"The modifier of '{code}' is not supported.")
        values = tuple(split_escaped(value, ","))
        if len(values) > MAX_VALUES:
            raise InvalidSearch(f"The search parameter '{code}' has more than {MAX_VALUES} values.")
        self._count(len(values) * (SUBQUERY if parameter.type is SearchType.COMPOSITE else 1))
        return Criterion(parameter, modifier, values)

    def _read_near(self, modifier: str, value: str) -> Condition | None:
        if modifier:
            raise UnsupportedSearch(f"'{NEAR}' takes no modifier here.")
        values = tuple(split_escaped(value, ","))
        self.values += len(values)
        if len(values) > MAX_POSITIONS:
            raise InvalidSearch(f"'{NEAR}' has more than {MAX_POSITIONS} values.")
        return Near(values) if value else None

    def _read_words(self, code: str, modifier: str, value: str) -> Condition | None:
        if modifier:
            raise UnsupportedSearch(f"'{code}' takes no modifier here.")
        self.values += 1
        return FullText(code, value) if value else None

    def _read_chain(
        self, parameter: SearchParameter, stated: str | None, rest: Rest, depth: int
    ) -> Condition | None:
        if parameter.type is not SearchType.REFERENCE:
            raise InvalidSearch(f"'{parameter.code}' is no reference: nothing can be chained to it.")
        if stated is not None and (stated not in stored_types() or not _may_target(parameter, stated)):
            raise InvalidSearch(f"'{parameter.code}' refers to no such resource type.")
        found: list[Condition] = []
        is_known = False
        for target_type, reach in self._open(parameter, stated):
            try:
                condition = self._linked(target_type, rest, depth)
            except UnknownParameter:
                continue  # another type's parameter is meant
            is_known = True
            if condition is not None:
                found.append(Chain(parameter, target_type, reach, condition))
        if not is_known:
            raise InvalidSearch(f"Nothing that '{parameter.code}' refers to has the parameter chained to it.")
        return (found[0] if len(found) == 1 else Either(tuple(found))) if found else None

    def _read_has(self, resource_type: str, name: str, value: str, depth: int) -> Condition | None:
        _, *parts = name.split(":", 3)
        if len(parts) != 3 or parts[0] not in stored_types():
            raise InvalidSearch("'_has' is not _has:Type:reference:parameter.")
        source_type, code, rest = parts
        parameter = parameters_of(source_type).get(code)
        if parameter is None or parameter.type is not SearchType.REFERENCE:
            raise InvalidSearch("'_has' names no reference parameter of that resource type.")
        if not _may_target(parameter, resource_type):
            raise InvalidSearch(f"The reference of '_has' does not lead to {resource_type}.")
        reach = self._reach(source_type)
        try:
            condition = self._linked(source_type, self._asking(rest, value), depth)
        except UnknownParameter:
            raise InvalidSearch(f"{source_type} has no parameter that is chained to it.") from None
        return None if condition is None else Has(source_type, parameter, reach, condition)

    def _read_list(self, value: str, depth: int) -> Condition | None:
        """Entries of a List; the current lists of search.html#list are not kept."""
        if value.startswith("$"):
            raise UnsupportedSearch(f"'{LIST}' takes the id of a List; functional lists are not supported.")
        condition = self._linked("List", self._asking("_id", value), depth)
        item = parameters_of("List")["item"]
        return None if condition is None else Has("List", item, self._reach("List"), condition)

    def _read_filter(self, resource_type: str, asked: Filter, depth: int) -> Condition | None:
        if isinstance(asked, Comparison):
            return self._compare(resource_type, asked, depth)
        if isinstance(asked, Negation):
            inner = self._read_filter(resource_type, asked.inner, depth)
            return inner and Unless(inner)
        parts = [self._read_filter(resource_type, each, depth) for each in asked.inner]
        found = tuple(part for part in parts if part is not None)
        return Both(found) if isinstance(asked, Together) else Either(found)

    def _compare(self, resource_type: str, asked: Comparison, depth: int) -> Condition | None:
        if asked.operator in NEGATED:
            same = self._compare(resource_type, replace(asked, operator=NEGATED[asked.operator]), depth)
            return same and Unless(same)
        head, dot, rest = asked.path.partition(".")
        code, _, stated = head.partition(":")
        parameter = parameters_of(resource_type).get(code)
        if parameter is None:
            if depth:
                raise UnknownParameter(code)
            raise InvalidSearch(f"'{FILTER}' names a parameter that {resource_type} does not have.")
        if dot:
            further = replace(asked, path=rest)
            return self._read_chain(parameter, stated or None, self._comparing(further), depth)
        self._count(SUBQUERY)
        return compared(parameter, asked)

    def _count(self, values: int) -> None:
        self.values += values
        if self.values > MAX_VALUES_TOGETHER:
            raise InvalidSearch(f"A search has at most {MAX_VALUES_TOGETHER} values.")

    def _comparing(self, asked: Comparison) -> Rest:
        return lambda resource_type, depth: self._compare(resource_type, asked, depth)

    def _linked(self, resource_type: str, rest: Rest, depth: int) -> Condition | None:
        """The condition at the other end of a link; None: nothing is asked there."""
        self.links += 1
        if depth >= MAX_CHAIN_DEPTH or self.links > MAX_LINKS:
            raise InvalidSearch(f"Chains have at most {MAX_CHAIN_DEPTH} links, a search {MAX_LINKS}.")
        return rest(resource_type, depth + 1)

    def _open(self, parameter: SearchParameter, stated: str | None) -> Iterator[tuple[str, Reach]]:
        """The types that a chain leads to and that the caller may search; a stated one has to be open."""
        if stated is not None or len(parameter.targets) == 1:
            one = stated or parameter.targets[0]
            yield one, self._reach(one)
            return
        refused: Forbidden | None = None
        opened = 0
        for target_type in parameter.targets or sorted(stored_types()):
            try:
                yield target_type, self._reach(target_type)
                opened += 1
            except Forbidden as fault:
                refused = fault
        if refused is not None and not opened:
            raise refused

    def _reach(self, resource_type: str) -> Reach:
        if self.access is None:
            raise UnsupportedSearch("Chained search parameters are not supported here.")
        return self.access.narrow_reach(resource_type, Permission.SEARCH)


def modifiers_of(parameter: SearchParameter) -> frozenset[str]:
    """The modifiers that may follow a parameter, beside `missing`."""
    if parameter.type is SearchType.COMPOSITE or parameter.code in ("_id", "_lastUpdated"):
        return frozenset()
    if parameter.type is SearchType.REFERENCE and parameter.targets:
        return frozenset({"identifier", *parameter.targets})
    allowed = KINDS[parameter.type].modifiers
    if OF_TYPE in allowed and "Identifier" not in datatypes_of(parameter):
        return allowed - {OF_TYPE}
    return allowed


def _may_target(parameter: SearchParameter, resource_type: str) -> bool:
    return not parameter.targets or resource_type in parameter.targets


def _boolean(code: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise InvalidSearch(f"'{code}:missing' is true or false.")
    return value == "true"
