"""Regular expressions that clients send must not keep the server busy: which ones may."""

import re
from re import _constants, _parser  # type: ignore[attr-defined]  # the only parser of them that Python has
from typing import Any

from fhir.fhirpath.errors import InvalidExpression
from fhir.fhirpath.syntax import Literal, Tree

MAX_PATTERN_CHARACTERS = 200
_REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT)
_MANY = 8  # a repetition of at most so many is none that could grow


def require_linear(pattern: Tree) -> None:
    """Let pass a literal pattern without a repetition inside another, and with at most two side by side.

    Raises:
        InvalidExpression: it could take long on some text.
    """
    if not isinstance(pattern, Literal) or type(pattern.value) is not str:
        raise InvalidExpression("A pattern must be written as a string.")
    refusal = InvalidExpression("The pattern is too complicated: repetitions within repetitions.")
    if len(pattern.value) > MAX_PATTERN_CHARACTERS:
        raise refusal
    try:
        parsed = _parser.parse(pattern.value)
    except (re.error, OverflowError, RecursionError):
        raise InvalidExpression("The pattern is no regular expression.") from None
    if _growing(parsed, inside=False) > 2:
        raise refusal


def _growing(node: Any, *, inside: bool) -> int:
    """How many open-ended repetitions there are; one inside another counts as too many."""
    found = 0
    for each in node:
        if not isinstance(each, tuple):
            continue
        operation, argument = each
        if operation in _REPEATS and argument[1] > _MANY:
            found += 3 if inside else 1
            found += _growing(argument[2], inside=True)
        else:
            found += sum(_growing(part, inside=inside) for part in _parts(argument))
    return found


def _parts(argument: Any) -> list[Any]:
    if isinstance(argument, _parser.SubPattern):
        return [argument]
    if isinstance(argument, list | tuple):
        return [part for each in argument for part in _parts(each)]
    return []
