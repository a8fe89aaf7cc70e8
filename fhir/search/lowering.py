"""From a query's conditions to shapes and values: every value is read here, before any SQL is.

Raises `InvalidSearch` for values that make no sense.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fhir.search.codes import MODIFIERS
from fhir.search.compartment import SHARED_TYPES
from fhir.search.conditions import (
    Both,
    Chain,
    Condition,
    Criterion,
    FullText,
    Has,
    InCompartment,
    Near,
    Unless,
)
from fhir.search.date import read_date
from fhir.search.definitions import SearchParameter, SearchType
from fhir.search.denied import Undenied, term_of
from fhir.search.extract import datatypes_of
from fhir.search.full_text import read_words
from fhir.search.kinds import KINDS
from fhir.search.linked import Chained, OfCompartment, OfNobodyElse, OfPatients, OneOfTypes, ReferredTo
from fhir.search.narrowing import narrowing
from fhir.search.near import read_near
from fhir.search.reference import Form as ReferenceForm
from fhir.search.shape import (
    AllOf,
    Always,
    AnyOf,
    Composite,
    HasWords,
    Indexed,
    Not,
    OfPlace,
    OfRow,
    Rank,
    Shape,
    Slot,
)
from fhir.search.string import Form as StringForm
from fhir.search.token import Form as TokenForm
from fhir.search.value import (
    Asked,
    InvalidSearch,
    Prefix,
    Surroundings,
    Term,
    UnsupportedSearch,
    split_escaped,
)
from server.kernel.access import Narrowed, Reach

MAX_BOUND = 10_000  # variables of a statement: `:above` of one URI compares with each of its beginnings


@dataclass(slots=True)
class Lowering:
    """The values of one statement, as they come."""

    around: Surroundings
    values: list[Any] = field(default_factory=list)

    def condition(self, resource_type: str, condition: Condition) -> Shape:
        """The shape of a condition on a resource of this type."""
        if isinstance(condition, Criterion):
            return self._criterion(condition)
        if isinstance(condition, FullText):
            return HasWords(self._slot(read_words(condition.code, condition.text)))
        if isinstance(condition, Near):
            return OfPlace(tuple(self._slot(read_near(text)) for text in condition.values))
        if isinstance(condition, Chain):
            target = condition.target_type
            inner = (self.condition(target, condition.condition), *self.reach(target, condition.reach))
            return Chained(condition.parameter, target, inner)
        if isinstance(condition, Has):
            source = condition.source_type
            inner = (self.condition(source, condition.condition), *self.reach(source, condition.reach))
            return ReferredTo(source, condition.parameter, inner)
        if isinstance(condition, InCompartment):
            of = self._slot(Term("compartment", (condition.compartment_type, condition.compartment_id)))
            return OfCompartment(condition.parameters, condition.itself, of)
        if isinstance(condition, Unless):
            return Not(self.condition(resource_type, condition.condition))
        inner = tuple(self.condition(resource_type, each) for each in condition.conditions)
        return AllOf(inner) if isinstance(condition, Both) else AnyOf(inner)

    def reaches(self, reaches: Mapping[str, Reach]) -> Iterable[Shape]:
        """What keeps resources of these types, and no others, within reach of each."""
        groups = [(names, tuple(self.reach(names[0], reach))) for reach, names in alike(reaches)]
        if not groups:
            return (Always(truth=False),)
        if len(groups) == 1:
            return groups[0][1]
        return (OneOfTypes(tuple(groups)),)

    def reach(self, resource_type: str, reach: Reach) -> Iterable[Shape]:
        """What keeps resources of this type within reach."""
        opened = self._opened(resource_type, reach)
        if reach.denials is None:
            return opened
        return (*opened, Undenied(self._slot(term_of(reach.denials))))

    def _opened(self, resource_type: str, reach: Reach) -> Iterable[Shape]:
        if not reach.narrowed:
            return self._of_patients(resource_type, reach.patient_ids)
        parts = [
            AllOf((*self._of_patients(resource_type, part.patient_ids), *self._criteria(resource_type, part)))
            for part in reach.parts
        ]
        return (AnyOf(tuple(parts)),)

    def _criteria(self, resource_type: str, part: Narrowed) -> Iterable[Shape]:
        for name, value in part.criteria:
            yield self.condition(resource_type, narrowing(resource_type, name, value))

    def _of_patients(self, resource_type: str, patient_ids: frozenset[str] | None) -> Iterable[Shape]:
        if patient_ids is None:
            return ()
        patients = self._slot(Term("patients", tuple(sorted(patient_ids))))
        if resource_type in SHARED_TYPES:
            return (OfNobodyElse(patients),)
        return OfPatients(patients), OfNobodyElse(patients)

    def _criterion(self, criterion: Criterion) -> Shape:
        parameter = criterion.parameter
        if parameter.code in ("_id", "_lastUpdated"):
            return self._of_row(criterion)
        if criterion.missing is not None:
            indexed = parameter.components[0] if parameter.components else parameter
            found = Indexed(indexed, (), Rank.SCAN)
            return Not(found) if criterion.missing else found
        if parameter.type is SearchType.COMPOSITE:
            return Composite(parameter, tuple(self._components(criterion, v) for v in criterion.values))
        if parameter.type is SearchType.TOKEN and criterion.modifier in MODIFIERS:
            raise UnsupportedSearch(f"'{parameter.code}:{criterion.modifier}' is not supported here.")
        if parameter.type is SearchType.TOKEN and criterion.modifier == "text":
            parameter = replace(parameter, type=SearchType.STRING)  # its texts are indexed as one
        asked = [_asked(criterion, text, self.around) for text in criterion.values]
        terms = [KINDS[parameter.type].read(one) for one in asked]
        matching = Indexed(parameter, tuple(map(self._slot, terms)), rank_of(parameter, terms))
        return Not(matching) if criterion.modifier == "not" else matching

    def _of_row(self, criterion: Criterion) -> Shape:
        if criterion.missing is not None:  # every resource has both
            return Always(truth=not criterion.missing)
        code = criterion.parameter.code
        if code == "_id":
            return OfRow(code, (self._slot(Term("ids", criterion.values)),))
        asked = (_asked(criterion, text, self.around) for text in criterion.values)
        return OfRow(code, tuple(self._slot(read_date(one)) for one in asked))

    def _components(self, criterion: Criterion, value: str) -> tuple[Slot, ...]:
        parameter = criterion.parameter
        texts = split_escaped(value, "$")
        if len(texts) != len(parameter.components):
            raise InvalidSearch(
                f"The value of '{parameter.code}' needs {len(parameter.components)} parts joined by '$'."
            )
        return tuple(
            self._slot(KINDS[component.type].read(self._asked_of(parameter, component, text)))
            for component, text in zip(parameter.components, texts, strict=True)
        )

    def _asked_of(self, parameter: SearchParameter, component: SearchParameter, text: str) -> Asked:
        return Asked(parameter.code, text, None, self.around, component.targets, datatypes_of(component))

    def _slot(self, term: Term) -> Slot:
        if len(self.values) + len(term.values) > MAX_BOUND:
            raise InvalidSearch(f"A search compares with at most {MAX_BOUND} values, as it is understood.")
        slot = Slot(term.form, len(self.values), len(term.values))
        self.values += term.values
        return slot


def alike(reaches: Mapping[str, Reach]) -> Iterable[tuple[Reach, tuple[str, ...]]]:
    """The types that one predicate keeps within reach; criteria are of the parameters of one type."""
    found: dict[tuple[Reach, bool, str], list[str]] = {}
    for name, reach in reaches.items():
        found.setdefault((reach, name in SHARED_TYPES, name if reach.narrowed else ""), []).append(name)
    return [(reach, tuple(names)) for (reach, *_), names in found.items()]


def _asked(criterion: Criterion, text: str, around: Surroundings) -> Asked:
    parameter = criterion.parameter
    return Asked(parameter.code, text, criterion.modifier, around, parameter.targets, datatypes_of(parameter))


def rank_of(parameter: SearchParameter, terms: Sequence[Term]) -> Rank:
    """How good a start the worst of these values is."""
    if parameter.type is SearchType.TOKEN and datatypes_of(parameter) == {"Identifier"}:
        code_rank = Rank.IDENTIFIER
    else:
        code_rank = Rank.CODE
    return max(_RANK_OF.get(term.form, _of_type(parameter.type, code_rank)) for term in terms)


def _of_type(search_type: SearchType, code_rank: Rank) -> Rank:
    if search_type is SearchType.TOKEN:
        return code_rank
    return _RANK_OF_TYPE[search_type]


_RANK_OF_TYPE: Mapping[SearchType, Rank] = {
    SearchType.REFERENCE: Rank.REFERENCE,
    SearchType.STRING: Rank.NAME,
    SearchType.URI: Rank.NAME,
    SearchType.NUMBER: Rank.RANGE,
    SearchType.QUANTITY: Rank.RANGE,
    SearchType.DATE: Rank.RANGE,
}
_RANK_OF: Mapping[Any, Rank] = {
    TokenForm.IMPLIED: Rank.STATUS,
    TokenForm.SYSTEM: Rank.STATUS,
    StringForm.CONTAINS: Rank.SCAN,
    StringForm.ENDS: Rank.SCAN,
    ReferenceForm.IDENTIFIER: Rank.IDENTIFIER,
    ReferenceForm.NO_SYSTEM: Rank.IDENTIFIER,
    ReferenceForm.SYSTEM: Rank.IDENTIFIER,
    Prefix.NE: Rank.NEVER,
}
