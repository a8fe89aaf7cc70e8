"""Functions of strings (FHIRPath N1 §5.6)."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from fhir.fhirpath.environment import Environment
from fhir.fhirpath.errors import EvaluationFailed, TooCostly
from fhir.fhirpath.functions.conversion import to_string
from fhir.fhirpath.functions.function import Arguments, Function
from fhir.fhirpath.items import Collection, system_value
from fhir.fhirpath.operators import MAX_TEXT_CHARACTERS, bounded_text
from fhir.fhirpath.singleton import integer, text

KEPT_PATTERNS = 512


def _on_text(compute: Callable[[str], object]) -> Function:
    def implementation(items: Collection, _environment: Environment, _arguments: Arguments) -> Collection:
        value = text(items)
        return [] if value is None else [compute(value)]

    return Function(implementation)


def _with_text(compute: Callable[[str, str], object], *, takes_pattern: bool = False) -> Function:
    def implementation(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
        value, other = text(items), text(arguments[0](environment))
        return [] if value is None or other is None else [compute(value, other)]

    return Function(implementation, 1, 1, takes_pattern)


def _with_two_texts(compute: Callable[[str, str, str], str], *, takes_pattern: bool = False) -> Function:
    def implementation(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
        value = text(items)
        one, other = (text(argument(environment)) for argument in arguments)
        if value is None or one is None or other is None:
            return []
        return [bounded_text(compute(value, one, other))]

    return Function(implementation, 2, 2, takes_pattern)


def _substring(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    value, start = text(items), integer(arguments[0](environment))
    if value is None or start is None or not 0 <= start < len(value):
        return []
    length = integer(arguments[1](environment)) if len(arguments) > 1 else None
    return [value[start:] if length is None else value[start : start + max(0, length)]]


def _join(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    separator = text(arguments[0](environment)) if arguments else ""
    texts = [to_string(system_value(item)) for item in items]
    return [bounded_text((separator or "").join(each for each in texts if each is not None))] if texts else []


def _split(items: Collection, environment: Environment, arguments: Arguments) -> Collection:
    value, separator = text(items), text(arguments[0](environment))
    if value is None:
        return []
    return list(value.split(separator) if separator else value)


def _to_chars(items: Collection, _environment: Environment, _arguments: Arguments) -> Collection:
    return list(text(items) or "")


@lru_cache(KEPT_PATTERNS)
def _pattern(written: str) -> re.Pattern[str]:
    try:
        return re.compile(written, re.DOTALL)
    except (re.error, OverflowError, RecursionError):
        raise EvaluationFailed("A pattern is no regular expression.") from None


def _replace(value: str, part: str, substitution: str) -> str:
    if len(substitution) * value.count(part) > MAX_TEXT_CHARACTERS:
        raise TooCostly(f"The expression makes a string longer than {MAX_TEXT_CHARACTERS} characters.")
    return value.replace(part, substitution)


def _matches(value: str, pattern: str) -> bool:
    """Somewhere in the text, as N2 made clear; N1 left it open."""
    return _pattern(pattern).search(value) is not None


def _replace_matches(value: str, pattern: str, substitution: str) -> str:
    if len(value) * max(1, len(substitution)) > MAX_TEXT_CHARACTERS:
        raise TooCostly(f"The expression makes a string longer than {MAX_TEXT_CHARACTERS} characters.")
    python = re.sub(r"\$(\d+)|\$\{(\w+)\}", r"\\g<\1\2>", substitution.replace("\\", "\\\\"))
    try:
        return _pattern(pattern).sub(python, value)
    except (re.error, IndexError):
        raise EvaluationFailed("A substitution names a group that its pattern has not.") from None


FUNCTIONS: Mapping[str, Function] = {
    "length": _on_text(len),
    "upper": _on_text(str.upper),
    "lower": _on_text(str.lower),
    "trim": _on_text(str.strip),
    "toChars": Function(_to_chars),
    "startsWith": _with_text(str.startswith),
    "endsWith": _with_text(str.endswith),
    "contains": _with_text(lambda value, part: part in value),
    "indexOf": _with_text(str.find),
    "lastIndexOf": _with_text(str.rfind),
    "replace": _with_two_texts(_replace),
    "matches": _with_text(_matches, takes_pattern=True),
    "matchesFull": _with_text(
        lambda value, pattern: _pattern(pattern).fullmatch(value) is not None, takes_pattern=True
    ),
    "replaceMatches": _with_two_texts(_replace_matches, takes_pattern=True),
    "substring": Function(_substring, 1, 2),
    "join": Function(_join, 0, 1),
    "split": Function(_split, 1, 1),
}
