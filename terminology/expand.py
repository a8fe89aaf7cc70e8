"""`$expand`: which codes a value set has (FHIR R4 valueset-operation-expand.html).

The answer is a ValueSet with its `expansion`, made for this request; the parameters that it tells are those
of the HL7 terminology ecosystem.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from terminology.canonical import Canonical, parse_canonical
from terminology.compose import Composition, Page
from terminology.contains import Contains
from terminology.context import Context, Inputs
from terminology.expand_input import ExpandInput, merge_inputs, read_expand_input
from terminology.hierarchy import Hierarchy
from terminology.included import Member
from terminology.inputs import element_of, text_of
from terminology.issues import InvalidInput, NotKnown, TooCostly
from terminology.library import Library
from terminology.messages import UNKNOWN_VALUE_SET
from terminology.sources_used import Sources, find_sources
from terminology.value_set import ValueSet, parse_value_set, read_value_set
from terminology.versions import find_value_set, read_version_rules

Json = Any

MAX_PAGE = 10_000  # codes that are told at once, whatever `count` says
MAX_NESTING = 50  # levels of a nested expansion; deeper ones are told flat

_TOLD_AT_ONCE = 500  # codes, some 10 ms
_ALWAYS_TOLD = frozenset(
    {"id", "language", "url", "identifier", "version", "name", "title", "status", "experimental", "date"}
    | {"publisher", "copyright"}
)  # elements of the ValueSet that are told without `includeDefinition` too
_NEVER_TOLD = frozenset({"expansion", "text"})


async def expand(inputs: Inputs, library: Library, context: Context) -> Json:
    """The ValueSet with the codes that it has.

    Raises:
        InvalidInput, InvalidLanguage, NotSupported: a parameter.
        NotKnown: a value set, code system or supplement is not here.
        InvalidFilter, InvalidDefinition, VersionConflict: a value set makes no sense.
        TooCostly: there are too many codes.
    """
    value_set = await _find(inputs, library)
    inputs = merge_inputs(inputs, value_set)
    asked, rules = read_expand_input(inputs, value_set, context), read_version_rules(inputs)
    sources = await find_sources(value_set, library, rules, asked.supplements)
    composition = Composition(sources.root, sources.systems, asked.wanted)
    most = context.max_expansion if asked.count is None else MAX_PAGE
    count = most + 1 if asked.count is None else min(asked.count, most + 1)
    page = await composition.page(asked.offset or 0, count)
    if (too_many := len(page.members) > most) and not asked.limited:
        raise TooCostly(
            f"The value set '{value_set.canonical}' has more than {most} codes: ask for some of them by "
            "'count' and 'offset', or narrow them by 'filter'."
        )
    contains = Contains(asked, sources.systems.systems_with_versions)
    entries = await _tell(contains, page.members[:most])
    parts = {
        "extension": [*sources.reservations(too_many=too_many), *contains.declarations()],
        "identifier": context.new_uuid(),
        "timestamp": context.now(),
        "total": page.total,
        "offset": None if asked.count is None and asked.offset is None else asked.offset or 0,
        "parameter": [*asked.told, *sources.used(merged=composition.merged), *sources.warnings()],
        "contains": _arranged(entries, page, asked, sources),
    }
    expansion = {name: value for name, value in parts.items() if value not in (None, [])}
    return {**_definition(value_set, asked), "expansion": expansion}


async def _tell(contains: Contains, members: Sequence[Member]) -> list[Json]:
    """The members as entries; others have their turn meanwhile."""
    entries = []
    for at, member in enumerate(members):
        if at % _TOLD_AT_ONCE == 0:
            await asyncio.sleep(0)
        entries.append(await contains.tell(member))
    return entries


def _arranged(entries: Sequence[Json], page: Page, asked: ExpandInput, sources: Sources) -> Sequence[Json]:
    """The entries, nested where all that one code system in memory has is told at once."""
    at_once = asked.count is None and not asked.offset and not asked.wanted.text
    if page.whole is None or not asked.nested or not at_once or sources.root.imports:
        return entries
    hierarchy = getattr(page.whole.system, "hierarchy", None)
    return entries if hierarchy is None else nest(entries, hierarchy)


async def _find(inputs: Inputs, library: Library) -> ValueSet:
    """The value set that is to be expanded."""
    if (given := element_of(inputs, "valueSet")) is not None:
        if given.get("resourceType") != "ValueSet":
            raise InvalidInput("The parameter 'valueSet' is a ValueSet.")
        return read_value_set(given)
    if (url := text_of(inputs, "url")) is None:
        raise InvalidInput("Which value set is to be expanded is said by 'url' or 'valueSet'.")
    wanted = parse_canonical(url)
    if version := text_of(inputs, "valueSetVersion"):
        wanted = Canonical(wanted.url, version)
    edition = await find_value_set(library, read_version_rules(inputs), wanted)
    if edition is None:
        raise NotKnown.of(UNKNOWN_VALUE_SET.issue(value_set=str(wanted)))
    return parse_value_set(await edition.open())


def _definition(value_set: ValueSet, asked: ExpandInput) -> Json:
    """The ValueSet's own elements: all, or those that say which it is."""
    resource = {name: value for name, value in value_set.resource.items() if name not in _NEVER_TOLD}
    if asked.with_definition:
        return resource
    return {"resourceType": "ValueSet"} | {
        name: value for name, value in resource.items() if name in _ALWAYS_TOLD
    }


def nest(entries: Sequence[Json], hierarchy: Hierarchy) -> Sequence[Json]:
    """Entries below the first of those above them that is told too; flat, where that would be too deep."""
    by_code = {each["code"]: each for each in entries}
    parents = {
        code: parent
        for code in by_code
        if (parent := next((p for p in hierarchy.parents.get(code, ()) if p in by_code), None)) is not None
    }
    if any(_depth(code, parents) > MAX_NESTING for code in parents):
        return entries
    for code, parent in parents.items():
        by_code[parent].setdefault("contains", []).append(by_code[code])
    return [each for code, each in by_code.items() if code not in parents]


def _depth(code: str, parents: Mapping[str, str]) -> int:
    """How many lie above a code; as soon as it is too deep (or endless) that is enough."""
    depth = 0
    while (above := parents.get(code)) is not None and depth <= MAX_NESTING:
        code, depth = above, depth + 1
    return depth
