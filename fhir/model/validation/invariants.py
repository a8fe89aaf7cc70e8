"""Level 2: R4's invariants, each compiled where its element is (FHIR R4 conformance-rules.html#constraints).

An invariant holds if its FHIRPath is true. It is looked at only where an element that it names is there, if
without them it holds anyway. Those that most resources meet are written out below; a test holds them to
what their FHIRPath says.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from fhir.model.validation.definitions import constraint_of
from fhir.model.validation.issue import IssueType, Severity
from fhir.model.validation.path import Path
from fhir.model.validation.report import Report, Within

if TYPE_CHECKING:
    from fhir.fhirpath.items import Item

Object = dict[str, Any]
Place = tuple[str, str]  # type name, path of a backbone element in it
CONTAINED = "contained"
_SECONDS = len("2020-01-02T03:04:05")
Holds = Callable[[Any, Report], bool]

# Invariants of R4 that are not evaluated, and why.
LEFT_OUT: Mapping[str, str] = {
    "ele-1": "the walker refuses empty elements",
    "ext-1": "the walker checks extensions",
    "dom-2": "the walker checks contained resources",
    "txt-1": "fhir.model.narrative",
    "txt-2": "fhir.model.narrative",
    **dict.fromkeys(
        ("ppc-2", "ppc-3", "ppc-4", "ppc-5"),
        "names the code system 'something', which no code has: it cannot fail",
    ),
}
# Invariants whose published expression does not say what their text says; corrected as HL7's validator does.
CORRECTED: Mapping[str, str] = {
    "ras-2": "probability.empty() or ((probability is decimal) implies ((probability as decimal) <= 100))",
    **dict.fromkeys(("org-1", "ipn-1"), "identifier.exists() or name.exists()"),  # the same, said shorter
    "que-12": "enableWhen.count() >= 2 implies enableBehavior.exists()",
    "sdf-19": (
        "url.startsWith('http://hl7.org/fhir/StructureDefinition') implies "
        "(differential | snapshot).element.type.code.all(hasValue() implies "
        r"matches('^([a-zA-Z0-9\\.]+|http://hl7\\.org/fhirpath/System\\.[A-Z][A-Za-z]+)$'))"
    ),
}
# Where their result is empty nobody can say, which is no mistake.
EMPTY_IS_FINE: Mapping[str, str] = {
    **dict.fromkeys(("Task#inv-1", "mdd-1", "rng-2", "age-1"), "dates or amounts that do not compare"),
    **dict.fromkeys(("bdl-8", "md-1"), "an optional element that is absent"),
}
NAMES = "-0"  # ending of the keys of "name should be usable as an identifier": names are optional


@dataclass(frozen=True, slots=True)
class Invariant:
    """One invariant at one place; `needs`: without any of these properties it holds."""

    key: str
    severity: Severity
    text: str
    needs: frozenset[str] | None
    holds: Holds


@cache
def invariants_at(place: Place, keys: tuple[str, ...]) -> tuple[Invariant, ...]:
    """The invariants with these keys, for elements of one kind."""
    return tuple(_compile(place, key) for key in keys if key not in LEFT_OUT)


def check_invariants(invariants: Sequence[Invariant], value: Object, path: Path, report: Report) -> None:
    """Note every invariant that an element breaks; warnings only if the report wants them."""
    for invariant in invariants:
        if invariant.needs is not None and invariant.needs.isdisjoint(value):
            continue
        if invariant.severity is Severity.WARNING and not report.with_warnings:
            continue
        if not invariant.holds(value, report):
            report.add(invariant.severity, IssueType.INVARIANT, invariant.text, path)


def check_primitive(invariants: Sequence[Invariant], value: Any, path: Path, report: Report) -> None:
    """Note every invariant that a primitive value breaks; R4 has two such elements."""
    for invariant in invariants:
        if not invariant.holds(value, report):
            report.add(invariant.severity, IssueType.INVARIANT, invariant.text, path)


def _compile(place: Place, key: str) -> Invariant:
    constraint = constraint_of(key, place[0])
    text = f"{constraint.human.rstrip('. ')} ({key})."
    native = WRITTEN_OUT.get(key)
    if native is not None:
        return Invariant(key, Severity(constraint.severity), text, *native)
    expression = CORRECTED.get(key, constraint.expression) or "true"
    holds = _by_fhirpath(place, expression, may_be_empty=_may_be_empty(place, key))
    needs = _needs(place, expression)
    if needs is not None and not holds({}, Report()):
        needs = None
    return Invariant(key, Severity(constraint.severity), text, needs, holds)


def _may_be_empty(place: Place, key: str) -> bool:
    return key.endswith(NAMES) or key in EMPTY_IS_FINE or f"{place[0]}#{key}" in EMPTY_IS_FINE


def _by_fhirpath(place: Place, text: str, *, may_be_empty: bool) -> Holds:
    # Imported here: FHIRPath needs the definitions, which are in this package.
    from fhir.fhirpath import EvaluationFailed, Item, TooCostly, compile_expression
    from fhir.fhirpath.kinds import kind_of
    from fhir.fhirpath.shortcuts import shortcut
    from fhir.fhirpath.singleton import boolean

    expression = compile_expression(text)
    kind = kind_of(*place)
    at_once = shortcut(expression.tree, kind)

    def holds(value: Object, report: Report) -> bool:
        known = None if kind.is_primitive else at_once(value)
        if known is not None:
            return known
        around = _around(report.within)
        focus = around if around is not None and around.value is value else Item(value, kind, None, around)
        try:
            found = boolean(expression.evaluate(focus))
        except TooCostly:
            return False
        except EvaluationFailed:
            return True  # the walker has said what is malformed here
        return may_be_empty if found is None else found

    return holds


def _around(within: Within | None) -> "Item | None":
    """The nearest resource as an item, with what is around it."""
    from fhir.fhirpath.items import Item, resource_item
    from fhir.fhirpath.kinds import Child

    if within is None:
        return None
    if within.item is None:
        within.item = resource_item(within.resource, _around(within.outer))
        within.item.child = Child(within.name, within.name, "Resource", "", is_resource=True)
    item: Item = within.item
    return item


def _needs(place: Place, text: str) -> frozenset[str] | None:
    """The properties without which an expression has nothing to look at; None: it looks at more."""
    from fhir.fhirpath import compile_expression
    from fhir.fhirpath.kinds import kind_of

    names = list(_names(compile_expression(text).tree))
    if None in names:
        return None
    by_name = kind_of(*place).by_name
    properties = {child.property for name in names if name is not None for child in by_name.get(name, ())}
    return frozenset(properties | {f"_{name}" for name in properties})


def _names(tree: Any) -> Iterator[str | None]:
    """The names by which an expression begins to look at its context; None: another way."""
    from fhir.fhirpath.syntax import Binary, Call, Literal, Member, Subscript, Unary, Variable

    match tree:
        case Literal() | Variable("ucum"):
            return
        case Member(None, name):
            yield name if name[0].islower() else None
        case Member(of, _) | Subscript(of, _):
            yield from _names(of)
        case Call(of, _, _):
            yield from _names(of) if of is not None else (None,)
        case Unary(_, operand):
            yield from _names(operand)
        case Binary(operator, left, right):
            yield from _names(left)
            if operator not in ("is", "as"):
                yield from _names(right)
        case _:
            yield None


def _contained_is_found(reference: Object, report: Report) -> bool:
    """ref-1: a reference to a contained resource leads to one."""
    literal = reference.get("reference")
    if type(literal) is not str or not literal.startswith("#"):
        return True
    around = report.within
    is_contained = around is not None and around.name == CONTAINED
    if literal == "#":  # what a contained resource is in
        return is_contained
    if is_contained and around is not None:
        around = around.outer
    if around is None:
        return False
    if around.contained_ids is None:
        around.contained_ids = frozenset(_contained_ids(around.resource))
    return literal[1:] in around.contained_ids


def _contained_ids(resource: Object) -> Iterator[str]:
    contained = resource.get(CONTAINED)
    for each in contained if type(contained) is list else ():
        if type(each) is dict and type(each.get("id")) is str:
            yield each["id"]


def _period_is_forward(period: Object, _report: Report) -> bool:
    """per-1: the start is not after the end, as far as both say."""
    start, end = period.get("start"), period.get("end")
    if type(start) is not str or type(end) is not str or start == end:
        return True
    if (
        len(start) == len(end) and start[_SECONDS:] == end[_SECONDS:]
    ):  # of one form and zone: in order as text
        return start < end
    from fhir.fhirpath.temporal import compare_temporals, read_temporal

    first, last = read_temporal(start), read_temporal(end)
    return first is None or last is None or compare_temporals(first, last) != 1


def _contained_are_used(resource: Object, _report: Report) -> bool:
    """dom-3: every contained resource is referred to from outside it, or itself refers to what it is in."""
    contained = resource.get(CONTAINED)
    if type(contained) is not list:
        return True
    used = {text[1:] for text in _local_references(resource)}
    for each in contained:
        if type(each) is not dict:
            continue
        named = each.get("id")
        if not (type(named) is str and named in used) and "#" not in _local_references(each):
            return False
    return True


def _local_references(value: Any) -> Iterator[str]:
    """Every string below that begins with `#`, as references to contained resources do."""
    stack = [value]
    while stack:
        node = stack.pop()
        for child in node.values() if type(node) is dict else node:
            kind = type(child)
            if kind is dict or kind is list:
                stack.append(child)
            elif kind is str and child.startswith("#"):
                yield child


def _contained_metas(resource: Object) -> Iterator[Object]:
    contained = resource.get(CONTAINED)
    for each in contained if type(contained) is list else ():
        meta = each.get("meta") if type(each) is dict else None
        if type(meta) is dict:
            yield meta


def _contained_have_no_version(resource: Object, _report: Report) -> bool:
    """dom-4: a contained resource has no versionId and no lastUpdated."""
    names = ("versionId", "_versionId", "lastUpdated", "_lastUpdated")
    return not any(name in meta for meta in _contained_metas(resource) for name in names)


def _contained_have_no_label(resource: Object, _report: Report) -> bool:
    """dom-5: a contained resource has no security label."""
    return not any("security" in meta for meta in _contained_metas(resource))


def _entries(bundle: Object) -> Iterator[Object]:
    entries = bundle.get("entry")
    return (entry for entry in entries if type(entry) is dict) if type(entries) is list else iter(())


def _entries_have(name: str, types: frozenset[str]) -> Holds:
    """bdl-3, bdl-4: entries have this if the Bundle is of one of these types, and only then."""

    def holds(bundle: Object, _report: Report) -> bool:
        stated = bundle.get("type")
        wanted = type(stated) is str and stated in types
        return all((name in entry) is wanted for entry in _entries(bundle))

    return holds


def _full_urls_differ(bundle: Object, _report: Report) -> bool:
    """bdl-7: fullUrl and version name an entry once, except in a history."""
    if bundle.get("type") == "history":
        return True
    seen = []
    for entry in _entries(bundle):
        if "fullUrl" in entry:
            resource = entry.get("resource")
            meta = resource.get("meta") if type(resource) is dict else None
            version = meta.get("versionId") if type(meta) is dict else None
            seen.append(f"{entry['fullUrl']}{version or ''}")
    return len(seen) == len(set(seen))


_ASKING = frozenset(("batch", "transaction", "history"))
_ANSWERING = frozenset(("batch-response", "transaction-response", "history"))


def _components_are_of_something_else(observation: Object, _report: Report) -> bool:
    """obs-7: beside a value no component has the code of the Observation."""
    if not any(name.startswith(("value", "_value")) for name in observation):
        return True
    from fhir.fhirpath.equality import freeze

    components = observation.get("component")
    own = set(map(freeze, _codings_of(observation)))
    return not own or not any(
        freeze(coded) in own
        for component in (components if type(components) is list else ())
        if type(component) is dict
        for coded in _codings_of(component)
    )


def _codings_of(coded: Object) -> Sequence[Any]:
    code = coded.get("code")
    codings = code.get("coding") if type(code) is dict else None
    return codings if type(codings) is list else ()


def _concepts_have_their_own_codes(code_system: Object, _report: Report) -> bool:
    """csd-1: no code of a code system is there twice, on whichever level."""
    seen: set[str] = set()
    waiting: list[Any] = [code_system]
    while waiting:
        concepts = waiting.pop().get("concept")
        for concept in concepts if type(concepts) is list else ():
            if type(concept) is not dict:
                continue
            code = concept.get("code")
            if type(code) is str:
                if code in seen:
                    return False
                seen.add(code)
            waiting.append(concept)
    return True


WRITTEN_OUT: Mapping[str, tuple[frozenset[str], Holds]] = {
    "ref-1": (frozenset(("reference",)), _contained_is_found),
    "per-1": (frozenset(("start",)), _period_is_forward),
    "dom-3": (frozenset((CONTAINED,)), _contained_are_used),
    "bdl-3": (frozenset(("entry",)), _entries_have("request", _ASKING)),
    "bdl-4": (frozenset(("entry",)), _entries_have("response", _ANSWERING)),
    "bdl-7": (frozenset(("entry",)), _full_urls_differ),
    "dom-4": (frozenset((CONTAINED,)), _contained_have_no_version),
    "dom-5": (frozenset((CONTAINED,)), _contained_have_no_label),
    "obs-7": (frozenset(("component",)), _components_are_of_something_else),
    "csd-1": (frozenset(("concept",)), _concepts_have_their_own_codes),
}
