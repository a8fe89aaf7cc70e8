"""What an expression's truth is, told from the JSON alone where names being there decide it.

Most of R4's invariants are made of `exists()` and `empty()`. To ask a dictionary costs a tenth of
an evaluation.
"""

from collections.abc import Callable, Mapping
from typing import Any

from fhir.fhirpath.kinds import Kind
from fhir.fhirpath.syntax import Binary, Call, Literal, Member, Subscript, Tree

Truth = bool | None  # None: the expression must be evaluated
_SELECT = frozenset(
    ("where", "first", "last", "tail", "ofType", "select", "extension")
)  # of nothing, nothing
Shortcut = Callable[[dict[str, Any]], Truth]


def shortcut(tree: Tree, kind: Kind) -> Shortcut:
    """A function that tells the truth of an expression on an element of a kind, or None."""
    match tree:
        case Call(Member(None, name), "exists" | "empty" as function, ()) if name in kind.by_name:
            return _presence(_properties(name, kind), wanted=function == "exists")
        case Call(
            Call(None, "where", (Binary("=", Member(None, name), Literal(str(text))),)),
            "exists" | "empty" as function,
            (),
        ) if name in kind.by_name and len(kind.by_name[name]) == 1:
            return _itself_says(name, text, wanted=function == "exists")
        case Call(of, "exists" | "empty" as function, ()) if (first := _first_name(of)) in kind.by_name:
            return _absence(_properties(first, kind), wanted=function == "empty")
        case Call(of, "not", ()) if of is not None:
            return _negated(shortcut(of, kind))
        case Binary("=" | "!=" as operator, Member(None, name), Literal(str(text))) if name in kind.by_name:
            return _says(_properties(name, kind), text, wanted=operator == "=")
        case Binary("and" | "or" | "xor" | "implies" | "=" | "!=" as operator, left, right):
            return _joined(operator, shortcut(left, kind), shortcut(right, kind))
        case _:
            return _unknown


def _unknown(_value: dict[str, Any]) -> Truth:
    return None


def _properties(name: str, kind: Kind) -> frozenset[str]:
    properties = {child.property for child in kind.by_name[name]}
    return frozenset(properties | {f"_{property_}" for property_ in properties})


def _presence(properties: frozenset[str], *, wanted: bool) -> Shortcut:
    return lambda value: properties.isdisjoint(value) is not wanted


def _absence(properties: frozenset[str], *, wanted: bool) -> Shortcut:
    """Where what a path begins with is not there, nothing is at its end."""
    return lambda value: wanted if properties.isdisjoint(value) else None


def _first_name(tree: Tree | None) -> str:
    """The name that a path from the context begins with; empty: it begins otherwise."""
    while isinstance(tree, Member | Call | Subscript):
        if isinstance(tree, Member) and tree.of is None:
            return tree.name
        if isinstance(tree, Call) and tree.name not in _SELECT:
            return ""
        tree = tree.of
    return ""


def _says(properties: frozenset[str], text: str, *, wanted: bool) -> Shortcut:
    """`name = 'text'` where the name has one property and that one string."""
    if len(properties) != 2:
        return _unknown
    name = min(properties, key=len)

    def says(value: dict[str, Any]) -> Truth:
        said = value.get(name)
        return (said == text) is wanted if type(said) is str else None

    return says


def _itself_says(name: str, text: str, *, wanted: bool) -> Shortcut:
    """`where(name = 'text')` on one element: whether it stays."""

    def says(value: dict[str, Any]) -> Truth:
        said = value.get(name)
        return None if type(said) is list else (said == text) is wanted

    return says


def _negated(of: Shortcut) -> Shortcut:
    def negated(value: dict[str, Any]) -> Truth:
        truth = of(value)
        return None if truth is None else not truth

    return negated


def _both(one: Truth, other: Truth) -> Truth:
    if one is False or other is False:
        return False
    return True if one and other else None


def _either(one: Truth, other: Truth) -> Truth:
    if one or other:
        return True
    return False if one is False and other is False else None


def _implied(one: Truth, other: Truth) -> Truth:
    return _either(None if one is None else not one, other)


def _same(one: Truth, other: Truth) -> Truth:
    return None if one is None or other is None else one is other


def _different(one: Truth, other: Truth) -> Truth:
    return None if one is None or other is None else one is not other


_JOIN: Mapping[str, Callable[[Truth, Truth], Truth]] = {
    "and": _both,
    "or": _either,
    "implies": _implied,
    "xor": _different,
    "=": _same,
    "!=": _different,
}


def _joined(operator: str, left: Shortcut, right: Shortcut) -> Shortcut:
    if left is _unknown and right is _unknown:
        return _unknown
    join = _JOIN[operator]
    return lambda value: join(left(value), right(value))
