"""Existence, filtering, subsetting, combining, tree navigation (FHIRPath N1 §5.1 to §5.4, §5.8)."""

from collections.abc import Mapping
from itertools import count

from fhir.fhirpath.environment import Environment
from fhir.fhirpath.equality import key_of, unique
from fhir.fhirpath.errors import EvaluationFailed, TooCostly
from fhir.fhirpath.functions.function import Arguments, Function, each
from fhir.fhirpath.items import Collection, Item, children_of
from fhir.fhirpath.singleton import boolean, integer, truth

MAX_REPEATS = 200  # levels of repeat(); JSON has 64


def _exists(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    if not arguments:
        return [bool(items)]
    return [any(truth(value) for _, value in each(items, environment, arguments[0]))]


def _all(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    return [all(truth(value) for _, value in each(items, environment, arguments[0]))]


def _every(wanted: bool) -> Function:
    return Function(lambda items, _env, _args: [all(boolean([item]) is wanted for item in items)])


def _some(wanted: bool) -> Function:
    return Function(lambda items, _env, _args: [any(boolean([item]) is wanted for item in items)])


def _where(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    return [item for item, value in each(items, environment, arguments[0]) if truth(value)]


def _select(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    return [found for _, value in each(items, environment, arguments[0]) for found in value]


def _repeat(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    found, seen, level = [], set(), items
    for depth in count():
        if not level:
            break
        if depth > MAX_REPEATS:
            raise TooCostly(f"repeat() goes on more than {MAX_REPEATS} times.")
        fresh = []
        for item in _select(level, environment, arguments):
            key = key_of(item)
            if key not in seen:
                seen.add(key)
                fresh.append(item)
        found += fresh
        level = fresh
    return found


def _single(items: Collection, _environment: Environment, _arguments: Arguments) -> Collection:
    if len(items) > 1:
        raise EvaluationFailed("single() is asked of several values.")
    return items


def _count_of(arguments: Arguments, environment: Environment) -> int:
    return max(0, integer(arguments[0](environment)) or 0)


def _skip(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    return items[_count_of(arguments, environment) :]


def _take(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    return items[: _count_of(arguments, environment)]


def _other(environment: Environment, arguments: Arguments) -> Collection:
    others = arguments[0](environment)
    environment.spend(len(others))
    return others


def _intersect(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    others = {key_of(item) for item in _other(environment, arguments)}
    return [item for item in unique(items) if key_of(item) in others]


def _exclude(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    others = {key_of(item) for item in _other(environment, arguments)}
    return [item for item in items if key_of(item) not in others]


def _subset_of(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    others = {key_of(item) for item in _other(environment, arguments)}
    return [all(key_of(item) in others for item in items)]


def _superset_of(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    mine = {key_of(item) for item in items}
    return [all(key_of(item) in mine for item in _other(environment, arguments))]


def _union(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    return unique([*items, *_other(environment, arguments)])


def _combine(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    return [*items, *_other(environment, arguments)]


def _children(items: Collection, environment: Environment, _arguments: Arguments) -> Collection:
    found = [child for item in items if type(item) is Item for child in children_of(item)]
    environment.spend(len(items) + len(found))
    return found


def _descendants(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    found: Collection = []
    level = items
    while level:
        level = _children(level, environment, arguments)
        found += level
    return found


def _is_distinct(items: Collection, _environment: Environment, _arguments: Arguments) -> Collection:
    return [len({key_of(item) for item in items}) == len(items)]


FUNCTIONS: Mapping[str, Function] = {
    "empty": Function(lambda items, _env, _args: [not items]),
    "exists": Function(_exists, 0, 1),
    "all": Function(_all, 1, 1),
    "allTrue": _every(True),
    "allFalse": _every(False),
    "anyTrue": _some(True),
    "anyFalse": _some(False),
    "subsetOf": Function(_subset_of, 1, 1),
    "supersetOf": Function(_superset_of, 1, 1),
    "count": Function(lambda items, _env, _args: [len(items)]),
    "distinct": Function(lambda items, _env, _args: unique(items)),
    "isDistinct": Function(_is_distinct),
    "where": Function(_where, 1, 1),
    "select": Function(_select, 1, 1),
    "repeat": Function(_repeat, 1, 1),
    "single": Function(_single),
    "first": Function(lambda items, _env, _args: items[:1]),
    "last": Function(lambda items, _env, _args: items[-1:]),
    "tail": Function(lambda items, _env, _args: items[1:]),
    "skip": Function(_skip, 1, 1),
    "take": Function(_take, 1, 1),
    "intersect": Function(_intersect, 1, 1),
    "exclude": Function(_exclude, 1, 1),
    "union": Function(_union, 1, 1),
    "combine": Function(_combine, 1, 1),
    "children": Function(_children),
    "descendants": Function(_descendants),
}
