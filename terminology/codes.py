"""The codes that a value set has, or that lie above or below one, as a search compares them.

FHIR R4 search.html#token (`:in`, `:above`, `:below`): codes and their systems, nothing of what they mean.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from terminology.code_system import CodeSystem, Content, Filter, FilterOperator, Selection
from terminology.compose import Composition, Wanted
from terminology.imports import Composed, find_imports
from terminology.in_request import GivenDefinitions
from terminology.issues import NotKnown, TooCostly
from terminology.library import Kind, Library
from terminology.opened import OpenedSystems
from terminology.releases.system import ReleasedCodeSystem
from terminology.value_set import Include, ValueSet, parse_value_set
from terminology.versions import NO_RULES, code_systems, find_code_system

Json = Any

MAX_CODES = 50_000  # of one value set or hierarchy


class Code(NamedTuple):
    """A code in its system."""

    system: str
    code: str


async def codes_of_value_set(value_set: Json, library: Library) -> frozenset[Code]:
    """The codes of a ValueSet; codes that it names of a code system that is not here, or not whole, count.

    Raises:
        NotKnown, InvalidDefinition, InvalidFilter, NotSupported: it cannot be told.
        TooCostly: there are more than `MAX_CODES`, or no list of them.
    """
    parsed = parse_value_set(value_set)
    root = await find_imports(parsed, library, NO_RULES)
    systems = OpenedSystems(Library([GivenDefinitions(await _named_only(root, library)), library]), NO_RULES)
    if (only := _only_include(parsed)) is not None:
        opened = await systems.open(only.system or "", only.version)
        codes = await _codes(opened.system, only.filters, active_only=parsed.inactive is False)
        return frozenset(Code(only.system or "", each) for each in codes)
    page = await Composition(root, systems, Wanted()).page(0, MAX_CODES + 1)
    _require_few(len(page.members))
    return frozenset(Code(each.system, each.concept.code) for each in page.members)


async def related_codes(code: Code, operator: FilterOperator, library: Library) -> frozenset[Code]:
    """The code, and those that are below it (`is-a`) or above it (`generalizes`).

    Raises:
        NotKnown: the code system.
        NotSupported: its hierarchy is not here.
        TooCostly: there are more than `MAX_CODES`.
    """
    edition = await find_code_system(library, NO_RULES, code.system, None)
    if edition is None:
        raise NotKnown(f"The code system '{code.system}' is not known here.")
    around = Filter("concept", operator, code.code)
    found = await _codes(await edition.open(), (around,))
    return frozenset({code, *(Code(code.system, each) for each in found)})


async def _codes(
    system: CodeSystem, filters: Sequence[Filter], *, active_only: bool = False
) -> Sequence[str]:
    """The codes that filters let through; of a large code system without what is said of them."""
    if isinstance(system, ReleasedCodeSystem):
        codes = await system.codes(filters, active_only=active_only, limit=MAX_CODES + 1)
    else:
        asked = Selection(filters, active_only=active_only, limit=MAX_CODES + 1)
        codes = [each.code for each in (await system.select(asked)).concepts]
    _require_few(len(codes))
    return codes


def _only_include(value_set: ValueSet) -> Include | None:
    """The include that alone says which codes there are, and names none; None: there is more to it."""
    if not value_set.composed or len(value_set.include) != 1 or value_set.exclude:
        return None
    (only,) = value_set.include
    return None if only.system is None or only.concepts or only.value_sets else only


async def _named_only(root: Composed, library: Library) -> Sequence[Json]:
    """Code systems that are not wholly here, made of the codes that are named of them; no more is asked."""
    named: dict[str, dict[str | None, dict[str, None]]] = {}
    for include in (each for one in (root, *root.all_imports()) for each in one.includes if each.system):
        by_version = named.setdefault(include.system or "", {})
        if include.concepts and not include.filters:
            by_version.setdefault(include.version, {}).update(dict.fromkeys(include.concepts))
        else:
            by_version[_ASKED_OTHERWISE] = {}
    return [
        {"resourceType": Kind.CODE_SYSTEM.value, "url": system, "version": version, "concept": concepts}
        for system, by_version in named.items()
        if _ASKED_OTHERWISE not in by_version and not await _is_whole(system, library)
        for version, codes in by_version.items()
        if (concepts := [{"code": code} for code in codes])
    ]


async def _is_whole(system: str, library: Library) -> bool:
    editions = await code_systems(library, system)
    return any(each.content != Content.FRAGMENT for each in editions)


_ASKED_OTHERWISE = "*"  # no version: an include asks for other codes than those that it names


def _require_few(count: int) -> None:
    if count > MAX_CODES:
        raise TooCostly(f"There are more than {MAX_CODES} codes.")
