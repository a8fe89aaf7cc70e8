"""The syntax tree of an expression constraint (ECL 2.2, §5.1), without what only spells it.

Keywords that stand for a concept (`syn`, `defined`, `en-us`, `prefer`) are that concept here; brackets are
where the tree branches. Two texts with the same tree mean the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any


class Direction(StrEnum):
    """constraintOperator."""

    DESCENDANT = "<"
    DESCENDANT_OR_SELF = "<<"
    CHILD = "<!"
    CHILD_OR_SELF = "<<!"
    ANCESTOR = ">"
    ANCESTOR_OR_SELF = ">>"
    PARENT = ">!"
    PARENT_OR_SELF = ">>!"
    TOP = "!!>"
    BOTTOM = "!!<"


class Comparison(StrEnum):
    """The comparison operators of attributes and filters."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="


class Match(Enum):
    """How a search term is compared: words that begin so, in any order; or the whole with `*`."""

    WORDS = "match"
    WILD = "wild"


@dataclass(frozen=True, slots=True)
class ConceptReference:
    """eclConceptReference; the term between pipes says nothing and is not kept."""

    code: str


@dataclass(frozen=True, slots=True)
class AnyConcept:
    """`*`"""


@dataclass(frozen=True, slots=True)
class Related:
    """constraintOperator with what it is applied to."""

    direction: Direction
    of: "Expression"


@dataclass(frozen=True, slots=True)
class MemberOf:
    """`^`; `fields` are those between brackets ("*": all), none: the referenced components."""

    of: "Expression"
    fields: tuple[str, ...] = ()
    filters: tuple["MemberFilter", ...] = ()  # those of one `{{ M … }}` and of the next


@dataclass(frozen=True, slots=True)
class WithDescription:
    """`{{ D … }}`: one description has all of it."""

    of: "Expression"
    filters: tuple["DescriptionFilter", ...]


@dataclass(frozen=True, slots=True)
class WithState:
    """`{{ C … }}`"""

    of: "Expression"
    filters: tuple["ConceptFilter", ...]


@dataclass(frozen=True, slots=True)
class WithHistory:
    """`{{ +HISTORY … }}`: and the inactive concepts that reference sets associate with them."""

    of: "Expression"
    refsets: "Expression"


@dataclass(frozen=True, slots=True)
class Both:
    """Conjunction."""

    parts: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """Disjunction."""

    parts: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Without:
    """Exclusion."""

    of: "Expression"
    excluded: "Expression"


@dataclass(frozen=True, slots=True)
class Dotted:
    """The values of an attribute."""

    of: "Expression"
    attribute: "Expression"


@dataclass(frozen=True, slots=True)
class Refined:
    """What has attributes."""

    of: "Expression"
    refinement: "Refinement"


@dataclass(frozen=True, slots=True)
class Cardinality:
    """Bounds, both inclusive; `most` None: as many as there are."""

    least: int = 1
    most: int | None = None


@dataclass(frozen=True, slots=True)
class SearchTerm:
    """typedSearchTerm; the text without its escapes; a wild one keeps those of stars."""

    match: Match
    text: str


@dataclass(frozen=True, slots=True)
class SearchTerms:
    """One of these."""

    terms: tuple[SearchTerm, ...]


@dataclass(frozen=True, slots=True)
class Number:
    """`#` and a number."""

    value: Decimal


@dataclass(frozen=True, slots=True)
class Boolean:
    """true or false."""

    value: bool


@dataclass(frozen=True, slots=True)
class Times:
    """One of these dates, YYYYMMDD; 0: `""`, there is none."""

    dates: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Attribute:
    """eclAttribute."""

    name: "Expression"
    comparison: Comparison
    value: "Expression | Number | SearchTerms | Boolean"
    cardinality: Cardinality = Cardinality()
    is_reversed: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """eclAttributeGroup."""

    of: "Refinement"
    cardinality: Cardinality = Cardinality()


@dataclass(frozen=True, slots=True)
class All:
    """Refinements that all hold."""

    parts: tuple["Refinement", ...]


@dataclass(frozen=True, slots=True)
class OneOf:
    """Refinements one of which holds."""

    parts: tuple["Refinement", ...]


@dataclass(frozen=True, slots=True)
class Term:
    """termFilter."""

    comparison: Comparison
    terms: SearchTerms


@dataclass(frozen=True, slots=True)
class Language:
    """languageFilter; codes in lower case."""

    comparison: Comparison
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Type:
    """typeFilter, by concepts."""

    comparison: Comparison
    types: "Expression"


@dataclass(frozen=True, slots=True)
class Dialect:
    """A language reference set, and the acceptabilities that count in it; none: all do."""

    refset: "Expression"
    acceptabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialects:
    """dialectFilter: one of these."""

    comparison: Comparison
    dialects: tuple[Dialect, ...]


@dataclass(frozen=True, slots=True)
class Module:
    """moduleFilter."""

    comparison: Comparison
    modules: "Expression"


@dataclass(frozen=True, slots=True)
class EffectiveTime:
    """effectiveTimeFilter."""

    comparison: Comparison
    times: Times


@dataclass(frozen=True, slots=True)
class Active:
    """activeFilter; None: either."""

    value: bool | None


@dataclass(frozen=True, slots=True)
class DescriptionId:
    """descriptionIdFilter."""

    comparison: Comparison
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DefinitionStatus:
    """definitionStatusFilter, by concepts."""

    comparison: Comparison
    statuses: "Expression"


@dataclass(frozen=True, slots=True)
class MemberField:
    """memberFieldFilter."""

    name: str
    comparison: Comparison
    value: "Expression | Number | SearchTerms | Boolean | Times"


Expression = (
    ConceptReference
    | AnyConcept
    | Related
    | MemberOf
    | WithDescription
    | WithState
    | WithHistory
    | Both
    | Either
    | Without
    | Dotted
    | Refined
)
Refinement = Attribute | Group | All | OneOf
DescriptionFilter = Term | Language | Type | Dialects | Module | EffectiveTime | Active | DescriptionId
ConceptFilter = DefinitionStatus | Module | EffectiveTime | Active
MemberFilter = Module | EffectiveTime | Active | MemberField


def walk(node: Any) -> Iterator[Any]:
    """The node and all below it."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, tuple):
            waiting += current
        elif is_dataclass(current):
            yield current
            waiting += [getattr(current, each.name) for each in fields(current)]


def codes_of(node: Any) -> set[str]:
    """The concepts that an expression names."""
    found = {each.code for each in walk(node) if isinstance(each, ConceptReference)}
    return found.union(*(each.acceptabilities for each in walk(node) if isinstance(each, Dialect)))
