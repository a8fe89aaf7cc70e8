"""Filters of a value set over a code system in memory (FHIR R4 codesystem.html#filters).

Regular expressions run in time that grows with the text alone (RE2): no pattern can keep a server busy.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from functools import lru_cache
from typing import Any

import re2  # type: ignore[import-untyped]  # it has no types

from terminology.code_system import Filter, FilterOperator
from terminology.concept import Concept
from terminology.hierarchy import Hierarchy
from terminology.issues import InvalidFilter, TooCostly

MAX_PATTERN_CHARACTERS = 1_000
MAX_MATCHED_CHARACTERS = 10_000  # of one text
_MAX_PATTERN_MEMORY = 1 << 20  # bytes of one compiled pattern
CODE_NAMES = frozenset({"code", "concept"})  # by which a filter means the concept itself


def holds(asked: Filter, concept: Concept, hierarchy: Hierarchy) -> bool:
    """Whether a filter lets a concept through.

    Raises:
        InvalidFilter: it is not understood.
    """
    rule = _RULES.get(asked.operator)
    if rule is None:
        raise InvalidFilter(f"The filter operator '{asked.operator}' is not understood.")
    return rule(asked, concept, hierarchy)


def _by_text(test: Callable[[str, str], bool]) -> "Rule":
    """A rule over each value of the property."""

    def rule(asked: Filter, concept: Concept, _: Hierarchy) -> bool:
        return any(test(text, asked.value) for text in values_of(concept, asked.property))

    return rule


def values_of(concept: Concept, name: str) -> list[str]:
    """The values of a property as text; `code` and `display` and `definition` are properties too."""
    found = [each.text for each in concept.properties if each.code == name]
    own = {
        "code": concept.code,
        "concept": concept.code,
        "display": concept.display,
        "definition": concept.definition,
    }
    if (value := own.get(name)) is not None:
        found.append(value)
    return found


def split_list(value: str) -> list[str]:
    """The values of `in` and `not-in`."""
    return [part.strip() for part in value.split(",")]


@lru_cache(16)
def _listed(value: str) -> frozenset[str]:
    """The same, split once for all concepts."""
    return frozenset(split_list(value))


def steps_of(asked: Filter, characters: int) -> int:
    """What it costs to hold a pattern against texts of so many characters, in steps of `effort`.

    The worst take a step for a character, ordinary ones for ten.

    Raises:
        InvalidFilter: it is no pattern.
    """
    return characters * (_LEAST_PROGRAM + int(compile_pattern(asked.value).programsize)) // _PROGRAM_OF_STEP


_LEAST_PROGRAM, _PROGRAM_OF_STEP = 50, 1_000  # instructions


@lru_cache(256)
def compile_pattern(pattern: str) -> Any:
    """A pattern that must match a whole value.

    Raises:
        InvalidFilter: it is no regular expression, or too large a one.
    """
    options = re2.Options()
    options.log_errors, options.max_mem = False, _MAX_PATTERN_MEMORY
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise InvalidFilter(f"A regular expression has at most {MAX_PATTERN_CHARACTERS} characters.")
    try:
        return re2.compile(pattern, options)
    except re2.error:
        raise InvalidFilter("The value of a filter with 'regex' is no regular expression (of RE2).") from None


def with_codes(asked: Filter, written: Callable[[str], str]) -> Filter:
    """A filter with the codes that it names as the code system writes them."""
    if asked.operator in _AT_ONCE:
        return replace(asked, value=written(asked.value))
    if asked.property not in CODE_NAMES or asked.operator not in _OF_VALUES:
        return asked
    if asked.operator is FilterOperator.EQUALS:
        return replace(asked, value=written(asked.value))
    return replace(asked, value=",".join(map(written, split_list(asked.value))))


def _matches(text: str, pattern: str) -> bool:
    if len(text) > MAX_MATCHED_CHARACTERS:
        raise TooCostly(
            f"Texts of more than {MAX_MATCHED_CHARACTERS} characters are not held against patterns."
        )
    return compile_pattern(pattern).fullmatch(text) is not None


def _exists(asked: Filter, concept: Concept, _: Hierarchy) -> bool:
    if asked.value not in ("true", "false"):
        raise InvalidFilter("The value of a filter with 'exists' is 'true' or 'false'.")
    return bool(values_of(concept, asked.property)) == (asked.value == "true")


def codes_above_or_below(asked: Filter, hierarchy: Hierarchy) -> Set[str] | None:
    """The codes that a filter over the hierarchy lets through, at once; None: it is another filter.

    What lies above or below is found once, not for each code: the answer is that of `holds`.
    """
    rule = _AT_ONCE.get(asked.operator)
    return None if rule is None else rule(asked.value, hierarchy)


Rule = Callable[[Filter, Concept, Hierarchy], bool]

_OF_VALUES = frozenset({FilterOperator.EQUALS, FilterOperator.IN, FilterOperator.NOT_IN})

_AT_ONCE: Mapping[FilterOperator, Callable[[str, Hierarchy], Set[str]]] = {
    FilterOperator.IS_A: lambda code, hierarchy: hierarchy.below(code) | {code},
    FilterOperator.DESCENDENT_OF: lambda code, hierarchy: hierarchy.below(code),
    FilterOperator.IS_NOT_A: lambda code, hierarchy: (
        hierarchy.entries.keys() - hierarchy.below(code) - {code}
    ),
    FilterOperator.GENERALIZES: lambda code, hierarchy: hierarchy.above(code) | {code},
    FilterOperator.CHILD_OF: lambda code, hierarchy: hierarchy.children.get(code, {}).keys(),
    FilterOperator.DESCENDENT_LEAF: lambda code, hierarchy: {
        each for each in hierarchy.below(code) if not hierarchy.children.get(each)
    },
}

_RULES: Mapping[FilterOperator, Rule] = {
    FilterOperator.EQUALS: _by_text(lambda text, value: text == value),
    FilterOperator.REGEX: _by_text(_matches),
    FilterOperator.IN: _by_text(lambda text, value: text in _listed(value)),
    FilterOperator.NOT_IN: lambda asked, concept, _: _listed(asked.value).isdisjoint(
        values_of(concept, asked.property)
    ),
    FilterOperator.EXISTS: _exists,
    FilterOperator.IS_A: lambda asked, concept, hierarchy: (
        concept.code == asked.value or asked.value in hierarchy.above(concept.code)
    ),
    FilterOperator.DESCENDENT_OF: lambda asked, concept, hierarchy: (
        asked.value in hierarchy.above(concept.code)
    ),
    FilterOperator.IS_NOT_A: lambda asked, concept, hierarchy: (
        concept.code != asked.value and asked.value not in hierarchy.above(concept.code)
    ),
    FilterOperator.GENERALIZES: lambda asked, concept, hierarchy: (
        concept.code == asked.value or concept.code in hierarchy.above(asked.value)
    ),
    FilterOperator.CHILD_OF: lambda asked, concept, hierarchy: (
        asked.value in hierarchy.parents.get(concept.code, ())
    ),
    FilterOperator.DESCENDENT_LEAF: lambda asked, concept, hierarchy: (
        asked.value in hierarchy.above(concept.code) and not hierarchy.children.get(concept.code)
    ),
}
