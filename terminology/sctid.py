"""SNOMED CT identifiers: partition and check digit (SNOMED CT Release File Specifications §3.1)."""

import re
from collections.abc import Sequence
from enum import StrEnum

_FEWEST, _MOST = 6, 18  # digits

_PATTERN = re.compile(rf"[1-9][0-9]{{{_FEWEST - 1},{_MOST - 1}}}")
# Verhoeff's scheme: the dihedral group of order 10, and the permutation by place from the right.
_PRODUCT = tuple(
    tuple((a + b) % 5 if b < 5 else 5 + (a + b) % 5 for b in range(10))
    if a < 5
    else tuple(5 + (a - b) % 5 if b < 5 else (a - b) % 5 for b in range(10))
    for a in range(10)
)
_FIRST = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
_INVERSE = (0, 4, 3, 2, 1, 5, 6, 7, 8, 9)


def _permutations() -> Sequence[Sequence[int]]:
    found = [tuple(range(10))]
    for _ in range(7):
        found.append(tuple(found[-1][_FIRST[digit]] for digit in range(10)))
    return tuple(found)


_PERMUTED = _permutations()


class Component(StrEnum):
    """What an identifier is of: the two digits before the last, where it has no namespace or has one."""

    CONCEPT = "concept"
    DESCRIPTION = "description"
    RELATIONSHIP = "relationship"


_COMPONENT_OF = {
    "00": Component.CONCEPT,
    "10": Component.CONCEPT,
    "01": Component.DESCRIPTION,
    "11": Component.DESCRIPTION,
    "02": Component.RELATIONSHIP,
    "12": Component.RELATIONSHIP,
}


def check_digit(digits: str) -> str:
    """The digit that belongs after these (Verhoeff)."""
    return str(_INVERSE[_remainder(digits, 1)])


def _remainder(digits: str, place: int) -> int:
    found = 0
    for digit in reversed(digits):
        found = _PRODUCT[found][_PERMUTED[place % 8][int(digit)]]
        place += 1
    return found


def has_form(text: str) -> bool:
    """Whether a text looks like an identifier."""
    return _PATTERN.fullmatch(text) is not None


def why_invalid(text: str, component: Component = Component.CONCEPT) -> str | None:
    """What is wrong with an identifier, for a message; None: nothing."""
    if not has_form(text):
        return f"an SNOMED CT identifier has {_FEWEST} to {_MOST} digits, the first is not 0"
    if _remainder(text, 0):
        return "its check digit is wrong"
    if _COMPONENT_OF.get(text[-3:-1]) is not component:
        return f"it is no identifier of a {component}"
    return None
