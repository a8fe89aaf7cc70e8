"""FHIRPath expressions of search parameters, compiled to paths (FHIR R4 searchparameter.html, fhirpath.html).

What the R4 definitions write is a small language: names, `ofType`, `as`, `where(resolve() is …)`,
`where(system='…')`, an index and `|`. Anything else raises `NotAPath`, and `fhir.fhirpath` evaluates it.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from fhir.search.path import Path, Step

# (type, element name) -> (JSON name, datatype) of the element, one for each type of a choice
Children = Callable[[str, str], Sequence[tuple[str, str]]]

_RESOURCE = "%resource"
_STEP = re.compile(
    r"\.?(?:"
    r"ofType\((?P<of_type>\w+)\)|as\((?P<as_type>\w+)\)"
    r"|where\(resolve\(\) is (?P<target>\w+)\)|where\((?P<key>\w+)='(?P<value>[^']*)'\)"
    r"|\[(?P<index>\d+)\]|(?P<name>[A-Za-z]\w*)(?!\())"
)
_GROUP = re.compile(r"^\(([^()]*(?:\([^()]*(?:\(\))?[^()]*\)[^()]*)*)\)")
_INFIX_AS = re.compile(r" as (\w+)$")
_TYPE_NAMES = {
    "DateTime": "dateTime",
    "String": "string",
    "Boolean": "boolean",
}  # slips of the R4 definitions


class NotAPath(ValueError):
    """The expression needs more of FHIRPath than paths."""


def alternatives(expression: str) -> list[str]:
    """The operands of the expression's outermost `|`."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(expression):
        depth += (character == "(") - (character == ")")
        if character == "|" and depth == 0:
            parts.append(expression[start:at])
            start = at + 1
    parts.append(expression[start:])
    return [part.strip() for part in parts]


def compile_expression(expression: str, start_type: str, children: Children) -> tuple[Path, ...]:
    """The paths of an expression from a resource (or element) type; alternatives of other types are left out.

    Raises:
        NotAPath: more than paths is needed.
    """
    return tuple(
        path for part in alternatives(expression) for path in _alternative(part, start_type, children)
    )


def _alternative(text: str, start_type: str, children: Children) -> Iterator[Path]:
    text = _without_groups(text)
    from_resource = text.startswith(_RESOURCE)
    text = text.removeprefix(_RESOURCE + ".")
    first = re.match(r"[A-Za-z]\w*", text)
    if first and first[0][0].isupper():
        if first[0] not in (start_type.partition(".")[0], "Resource", "DomainResource"):
            return
        text = text[first.end() :]
    start = start_type.partition(".")[0] if from_resource else start_type
    paths = [Path((), start, from_resource)]
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or match.end() == at:
            raise NotAPath(text)
        paths = [longer for path in paths for longer in _extend(path, match, children)]
        at = match.end()
    yield from (Path(p.steps, p.type, p.from_resource) for p in paths)


def _without_groups(text: str) -> str:
    """`(A.b as C).d` as `A.b.as(C).d`."""
    if group := _GROUP.match(text):
        text = _INFIX_AS.sub(r".as(\1)", group[1]) + text[group.end() :]
    return _INFIX_AS.sub(r".as(\1)", text)


def _extend(path: Path, match: re.Match[str], children: Children) -> Iterator[Path]:
    if wanted := match["of_type"] or match["as_type"]:
        if path.type == _TYPE_NAMES.get(wanted, wanted):
            yield path
    elif match["name"]:
        found = children(path.type, match["name"])
        if not found:
            raise NotAPath(f"{path.type} has no element {match['name']}")
        for name, datatype in found:
            yield Path((*path.steps, Step(name)), datatype, path.from_resource)
    else:
        yield _filtered(path, match)


def _filtered(path: Path, match: re.Match[str]) -> Path:
    if not path.steps:
        raise NotAPath("a filter on the start itself")
    *before, last = path.steps
    index = int(match["index"]) if match["index"] else None
    step = Step(last.name, match["key"], match["value"], match["target"], index)
    return Path((*before, step), path.type, path.from_resource)
