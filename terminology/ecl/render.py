"""A syntax tree is written as an expression constraint (ECL 2.2, §5.1): `parse(render(tree)) == tree`."""

from collections.abc import Callable, Mapping
from typing import Any

from terminology.ecl.syntax import (
    Active,
    All,
    AnyConcept,
    Attribute,
    Boolean,
    Both,
    Cardinality,
    ConceptReference,
    DefinitionStatus,
    DescriptionId,
    Dialects,
    Dotted,
    EffectiveTime,
    Either,
    Expression,
    Group,
    Language,
    Match,
    MemberField,
    MemberOf,
    Module,
    Number,
    OneOf,
    Refined,
    Refinement,
    Related,
    SearchTerms,
    Term,
    Times,
    Type,
    WithDescription,
    WithHistory,
    Without,
    WithState,
)

_COMPOUND = Both | Either | Without | Dotted | Refined


def render(node: Any) -> str:
    """The text of a tree, or of a part of one."""
    return _RENDERERS[type(node)](node)


def _operand(node: Expression) -> str:
    """As a part of an operator: within brackets where it branches."""
    return f"({render(node)})" if isinstance(node, _COMPOUND) else render(node)


def _focus(node: Expression) -> str:
    """As what an operator with one side is applied to."""
    return render(node) if isinstance(node, ConceptReference | AnyConcept) else f"({render(node)})"


def _related(node: Related) -> str:
    of = node.of
    is_plain = isinstance(of, MemberOf)
    return f"{node.direction.value} {render(of) if is_plain else _focus(of)}"


def _member_of(node: MemberOf) -> str:
    fields = f" [{', '.join(node.fields)}]" if node.fields else ""
    filters = f" {{{{ M {', '.join(map(render, node.filters))} }}}}" if node.filters else ""
    return f"^{fields} {_focus(node.of)}{filters}"


def _filtered(letter: str) -> Callable[[Any], str]:
    def write(node: WithDescription | WithState) -> str:
        return f"{_filterable(node.of)} {{{{ {letter} {', '.join(map(render, node.filters))} }}}}"

    return write


def _filterable(node: Expression) -> str:
    """As what a filter follows; nothing follows a history supplement."""
    return f"({render(node)})" if isinstance(node, _COMPOUND | WithHistory) else render(node)


def _history(node: WithHistory) -> str:
    return f"{_filterable(node.of)} {{{{ +HISTORY ({render(node.refsets)}) }}}}"


def _joined(word: str) -> Callable[[Any], str]:
    return lambda node: f" {word} ".join(map(_operand, node.parts))


def _without(node: Without) -> str:
    return f"{_operand(node.of)} MINUS {_operand(node.excluded)}"


def _dotted(node: Dotted) -> str:
    of = render(node.of) if isinstance(node.of, Dotted) else _operand(node.of)
    return f"{of} . {_operand(node.attribute)}"


def _attribute(node: Attribute) -> str:
    flag = "R " if node.is_reversed else ""
    return (
        f"{_cardinality(node.cardinality)}{flag}{_operand(node.name)} {node.comparison.value}"
        f" {_value(node.value)}"
    )


def _cardinality(bounds: Cardinality) -> str:
    most = "*" if bounds.most is None else bounds.most
    return "" if bounds == Cardinality() else f"[{bounds.least}..{most}] "


def _value(node: Any) -> str:
    return _operand(node) if isinstance(node, Expression) else render(node)


def _group(node: Group) -> str:
    return f"{_cardinality(node.cardinality)}{{ {render(node.of)} }}"


def _refinements(word: str) -> Callable[[Any], str]:
    def part(node: Refinement) -> str:
        return f"({render(node)})" if isinstance(node, All | OneOf) else render(node)

    return lambda node: word.join(map(part, node.parts))


def _terms(node: SearchTerms) -> str:
    found = []
    for each in node.terms:
        text = each.text if each.match is Match.WILD else each.text.replace("\\", "\\\\")
        found.append(f'{each.match.value}:"' + text.replace('"', '\\"') + '"')
    return f"({' '.join(found)})"


def _times(node: Times) -> str:
    return "(" + " ".join(f'"{each or ""}"' for each in node.dates) + ")"


def _compared(keyword: str, name: str) -> Callable[[Any], str]:
    return lambda node: f"{keyword} {node.comparison.value} {_value(getattr(node, name))}"


def _listed(keyword: str) -> Callable[[Any], str]:
    return lambda node: f"{keyword} {node.comparison.value} ({' '.join(node.codes)})"


def _dialects(node: Dialects) -> str:
    if len(node.dialects) == 1:
        (only,) = node.dialects
        return f"dialectId {node.comparison.value} {_operand(only.refset)}{_accepted(only.acceptabilities)}"
    each = " ".join(f"{render(one.refset)}{_accepted(one.acceptabilities)}" for one in node.dialects)
    return f"dialectId {node.comparison.value} ({each})"


def _accepted(codes: tuple[str, ...]) -> str:
    return f" ({' '.join(codes)})" if codes else ""


def _active(node: Active) -> str:
    return 'active = "*"' if node.value is None else f"active = {int(node.value)}"


def _field(node: MemberField) -> str:
    return f"{node.name} {node.comparison.value} {_value(node.value)}"


_RENDERERS: Mapping[type, Callable[[Any], str]] = {
    ConceptReference: lambda node: node.code,
    AnyConcept: lambda _: "*",
    Related: _related,
    MemberOf: _member_of,
    WithDescription: _filtered("D"),
    WithState: _filtered("C"),
    WithHistory: _history,
    Both: _joined("AND"),
    Either: _joined("OR"),
    Without: _without,
    Dotted: _dotted,
    Refined: lambda node: f"{_operand(node.of)} : {render(node.refinement)}",
    Attribute: _attribute,
    Group: _group,
    All: _refinements(", "),
    OneOf: _refinements(" OR "),
    SearchTerms: _terms,
    Number: lambda node: f"#{node.value:f}",
    Boolean: lambda node: str(node.value).lower(),
    Times: _times,
    Term: _compared("term", "terms"),
    Language: _listed("language"),
    Type: _compared("typeId", "types"),
    Dialects: _dialects,
    Module: _compared("moduleId", "modules"),
    EffectiveTime: _compared("effectiveTime", "times"),
    Active: _active,
    DescriptionId: _listed("id"),
    DefinitionStatus: _compared("definitionStatusId", "statuses"),
    MemberField: _field,
}
