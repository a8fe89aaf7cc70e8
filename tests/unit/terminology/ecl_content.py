"""A small made-up release, and what expressions mean in it, worked out the plain way (ECL 2.2, §6)."""

import fnmatch
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from terminology.ecl.concepts import (
    ACCEPTABLE,
    DEFINED,
    DEFINITION,
    FULLY_SPECIFIED_NAME,
    PREFERRED,
    PRIMITIVE,
    SYNONYM,
)
from terminology.ecl.syntax import (
    Active,
    All,
    AnyConcept,
    Attribute,
    Boolean,
    Both,
    Comparison,
    ConceptReference,
    DefinitionStatus,
    DescriptionId,
    Dialects,
    Direction,
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
    Refined,
    Refinement,
    Related,
    SearchTerms,
    Term,
    Type,
    WithDescription,
    WithHistory,
    Without,
    WithState,
)
from terminology.releases.draft import ReleaseDraft
from terminology.tables import (
    TerminologyConceptState,
    TerminologyConcreteValue,
    TerminologyDescription,
    TerminologyMember,
    TerminologyRelation,
)
from terminology.text import words_of

CODES = [f"{number}000100" for number in range(101, 115)]
KEYWORDS = [DEFINED, PRIMITIVE, PREFERRED, ACCEPTABLE, FULLY_SPECIFIED_NAME, SYNONYM, DEFINITION]
WORDS = ["Café", "cold", "colder", "big", "100%", "x_y"]
DATES = [0, 20240131, 20250131]
_LETTERS = {"p": PREFERRED, "a": ACCEPTABLE}


@dataclass
class Content:
    """A release as sets; rows are dicts as `ReleaseDraft.add_row` takes them."""

    codes: list[str] = field(default_factory=lambda: [*CODES, *KEYWORDS])
    inactive: set[str] = field(default_factory=set)
    parents: dict[str, set[str]] = field(default_factory=dict)
    relations: list[dict[str, Any]] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    descriptions: list[dict[str, Any]] = field(default_factory=list)
    members: list[dict[str, Any]] = field(default_factory=list)

    def draft(self, version: str) -> ReleaseDraft:
        """The release, to be written."""
        draft = ReleaseDraft(
            {"resourceType": "CodeSystem", "url": "http://example.org/ecl", "version": version}, "snomed"
        )
        for code in self.codes:
            draft.add_concept(
                {"code": code, "display": f"Concept {code}"},
                parents=self.parents.get(code, ()),
                active=code not in self.inactive,
            )
        for table, rows in (
            (TerminologyRelation, self.relations),
            (TerminologyConcreteValue, self.values),
            (TerminologyConceptState, self.states),
            (TerminologyDescription, self.descriptions),
            (TerminologyMember, self.members),
        ):
            for row in rows:
                draft.add_row(table, **row)
        return draft


def make_content(seed: int) -> Content:
    """Random content."""
    chance = random.Random(seed)
    content = Content()
    content.inactive = set(chance.sample(CODES, 3))
    active = [code for code in CODES if code not in content.inactive]
    for at, code in enumerate(active[1:], 1):
        content.parents[code] = set(chance.sample(active[:at], min(at, chance.choice([1, 1, 2]))))
    some = chance.sample(active, 6)
    for row in {
        (chance.choice(active), chance.randrange(4), chance.choice(some[:3]), chance.choice(active))
        for _ in range(30)
    }:
        content.relations.append(dict(zip(("source", "role_group", "attribute", "target"), row, strict=True)))
    for row in {
        (
            chance.choice(active),
            chance.randrange(3),
            chance.choice(some[2:4]),
            chance.choice(["-1", "2", "2.5", "Big cold", "true", "false"]),
        )
        for _ in range(14)
    }:
        number = float(row[3]) if re.fullmatch(r"-?[0-9.]+", row[3]) else None
        content.values.append(
            dict(zip(("source", "role_group", "attribute", "value"), row, strict=True)) | {"number": number}
        )
    for code in CODES:
        content.states.append(
            {
                "number": code,
                "defined": chance.random() < 0.5,
                "module": chance.choice([*some, None]),
                "effective_time": chance.choice(DATES),
            }
        )
        for n in range(chance.randrange(3)):
            content.descriptions.append(_description(chance, code, n, some))
        for n in range(chance.randrange(3)):
            content.members.append(_member(chance, code, n, some))
    return content


def _description(chance: random.Random, code: str, n: int, some: list[str]) -> dict[str, Any]:
    term = " ".join(chance.sample(WORDS, chance.randrange(1, 4)))
    return {
        "concept": code,
        "n": n,
        "code": chance.choice(["123456", "345678"]),
        "active": chance.random() < 0.7,
        "kind": chance.choice([SYNONYM, FULLY_SPECIFIED_NAME, None]),
        "module": chance.choice([*some, None]),
        "effective_time": chance.choice(DATES),
        "language": chance.choice(["en", "de", "fr"]),
        "dialects": [(each, chance.choice("pa")) for each in chance.sample(some, chance.randrange(3))],
        "words": "".join(f" {word}" for word in words_of(term)),
        "term": term.casefold(),
    }


def _member(chance: random.Random, code: str, n: int, some: list[str]) -> dict[str, Any]:
    return {
        "refset": chance.choice(some),
        "concept": code,
        "n": n,
        "target": chance.choice([*CODES, None]),
        "module": chance.choice([*some, None]),
        "effective_time": chance.choice(DATES),
        "fields": chance.choice(
            [
                "{}",
                '{"mapTarget":"J45.9 Café cold","mapGroup":1}',
                f'{{"mapTarget":"{some[0]}","mapGroup":"2"}}',
            ]
        ),
    }


Codes = set[str]


class Naive:
    """What expressions mean."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.all = set(content.codes)
        self.up = {code: self._reached(code) for code in self.all}

    def _reached(self, code: str) -> Codes:
        direct = self.content.parents.get(code, set())
        return direct.union(*(self._reached(each) for each in direct))

    def mean(self, node: Expression) -> Codes:
        """The codes."""
        match node:
            case ConceptReference(code):
                return {code} & self.all
            case AnyConcept():
                return set(self.all)
            case Related():
                return self._related(node.direction, self.mean(node.of))
            case Both():
                return set.intersection(*map(self.mean, node.parts))
            case Either():
                return set.union(*map(self.mean, node.parts))
            case Without():
                return self.mean(node.of) - self.mean(node.excluded)
            case MemberOf():
                return self._member_of(node)
            case Dotted():
                of, names = self.mean(node.of), self.mean(node.attribute)
                rows = (row for row in self.content.relations if row["attribute"] in names)
                return {row["target"] for row in rows if row["source"] in of}
            case _:
                return self._narrowed(node)

    def _member_of(self, node: MemberOf) -> Codes:
        rows = self._members(node.of)
        column = "target" if node.fields == ("targetComponentId",) else "concept"
        fitting = (row for row in rows if all(self._of_member(each, row) for each in node.filters))
        return {row[column] for row in fitting if row[column]}

    def _narrowed(self, node: WithDescription | WithState | WithHistory | Refined) -> Codes:
        of = self.mean(node.of)
        match node:
            case WithDescription():
                return {code for code in of if self._is_described(code, node.filters)}
            case WithState():
                return {code for code in of if all(self._of_state(each, code) for each in node.filters)}
            case WithHistory():
                return of | {row["concept"] for row in self._members(node.refsets) if row["target"] in of}
            case Refined():
                return {code for code in of if self._refines(node.refinement, code, None)}

    def _related(self, direction: Direction, of: Codes) -> Codes:
        parents = self.content.parents
        below = {code for code in self.all if self.up[code] & of}
        above = set[str]().union(*(self.up[code] for code in of))
        children = {code for code in self.all if parents.get(code, set()) & of}
        next_up = set[str]().union(*(parents.get(code, set()) for code in of))
        return {
            Direction.DESCENDANT: below,
            Direction.DESCENDANT_OR_SELF: below | of,
            Direction.CHILD: children,
            Direction.CHILD_OR_SELF: children | of,
            Direction.ANCESTOR: above,
            Direction.ANCESTOR_OR_SELF: above | of,
            Direction.PARENT: next_up,
            Direction.PARENT_OR_SELF: next_up | of,
            Direction.TOP: of - below,
            Direction.BOTTOM: of - above,
        }[direction]

    def _refines(self, node: Refinement, code: str, group: int | None) -> bool:
        match node:
            case Attribute():
                return self._fits(node, self._count(node, code, group))
            case Group():
                rows = [row for row in self.content.relations + self.content.values if row["source"] == code]
                groups = {row["role_group"] for row in rows} - {0}
                return self._fits(node, sum(self._refines(node.of, code, each) for each in groups))
            case All():
                return all(self._refines(each, code, group) for each in node.parts)
            case _:
                return any(self._refines(each, code, group) for each in node.parts)

    @staticmethod
    def _fits(node: Any, count: int) -> bool:
        return bool(
            count >= node.cardinality.least
            and (node.cardinality.most is None or count <= node.cardinality.most)
        )

    def _count(self, node: Attribute, code: str, group: int | None) -> int:
        names = self.mean(node.name)
        own, other = ("target", "source") if node.is_reversed else ("source", "target")
        test = self._value_test(node)
        is_concept = isinstance(node.value, Expression)
        rows = self.content.relations if is_concept else self.content.values
        return sum(
            row["attribute"] in names
            and row[own] == code
            and group in (None, row["role_group"])
            and test(row, other)
            for row in rows
        )

    def _value_test(self, node: Attribute) -> Callable[[dict[str, Any], str], bool]:
        is_not = node.comparison is Comparison.NOT_EQUAL
        match node.value:
            case Number(value):
                return lambda row, _: (
                    row["number"] is not None and _compare(node.comparison, row["number"], float(value))
                )
            case SearchTerms():
                terms = node.value
                return lambda row, _: row["number"] is None and _matches_text(terms, row["value"]) != is_not
            case Boolean(value):
                return lambda row, _: row["value"] == str(value != is_not).lower()
            case _:
                wanted = self.mean(node.value)
                return lambda row, other: (row[other] in wanted) != is_not

    def _members(self, refsets: Expression) -> Iterable[dict[str, Any]]:
        wanted = self.mean(refsets)
        return [row for row in self.content.members if row["refset"] in wanted]

    def _shared(self, asked: Any, row: dict[str, Any]) -> bool:
        is_not = asked.comparison is Comparison.NOT_EQUAL
        if isinstance(asked, Module):
            return (row["module"] in self.mean(asked.modules)) != is_not
        assert isinstance(asked, EffectiveTime)
        time, dates = row["effective_time"], asked.times.dates
        if asked.comparison in (Comparison.EQUAL, Comparison.NOT_EQUAL):
            return (time in dates) != is_not
        return bool(time) and any(_compare(asked.comparison, time, date) for date in dates if date)

    def _of_state(self, asked: Any, code: str) -> bool:
        if isinstance(asked, Active):
            return asked.value in (None, code not in self.content.inactive)
        row = next((each for each in self.content.states if each["number"] == code), None)
        if row is None:
            return False
        if isinstance(asked, DefinitionStatus):
            wanted = self.mean(asked.statuses)
            return ((DEFINED if row["defined"] else PRIMITIVE) in wanted) != (
                asked.comparison is Comparison.NOT_EQUAL
            )
        return self._shared(asked, row)

    def _is_described(self, code: str, filters: tuple[Any, ...]) -> bool:
        by_default = not any(isinstance(each, Active) for each in filters)
        rows = (row for row in self.content.descriptions if row["concept"] == code)
        return any(
            (row["active"] or not by_default) and all(self._describes(each, row) for each in filters)
            for row in rows
        )

    def _describes(self, asked: Any, row: dict[str, Any]) -> bool:
        is_not = getattr(asked, "comparison", None) is Comparison.NOT_EQUAL
        match asked:
            case Active(value):
                return value in (None, row["active"])
            case Term(_, terms):
                return _matches(terms, row["term"]) != is_not
            case Language(_, codes):
                return (row["language"] in codes) != is_not
            case Type(_, types):
                return (row["kind"] in self.mean(types)) != is_not
            case Dialects(_, dialects):
                held = {(code, _LETTERS[letter]) for code, letter in row["dialects"]}
                wanted = {
                    (each.refset.code, how)
                    for each in dialects
                    if isinstance(each.refset, ConceptReference)
                    for how in each.acceptabilities or (PREFERRED, ACCEPTABLE)
                }
                return bool(held & wanted) != is_not
            case DescriptionId(_, codes):
                return (row["code"] in codes) != is_not
            case _:
                return self._shared(asked, row)

    def _of_member(self, asked: Any, row: dict[str, Any]) -> bool:
        if isinstance(asked, Active):
            return True
        if not isinstance(asked, MemberField):
            return self._shared(asked, row)
        is_not = asked.comparison is Comparison.NOT_EQUAL
        own = {"targetComponentId": "target", "referencedComponentId": "concept"}.get(asked.name)
        if own:
            assert isinstance(asked.value, Expression)
            return row[own] is not None and (row[own] in self.mean(asked.value)) != is_not
        found = re.search(rf'"{asked.name}":"?([^"}}]*)', row["fields"])
        if found is None:
            return False
        match asked.value:
            case Number(value):
                return _compare(asked.comparison, float(found[1]), float(value))
            case SearchTerms():
                return _matches_text(asked.value, found[1]) != is_not
            case _:
                assert isinstance(asked.value, Expression)
                return (found[1] in self.mean(asked.value)) != is_not


def _compare(comparison: Comparison, left: float, right: float) -> bool:
    return {
        Comparison.EQUAL: left == right,
        Comparison.NOT_EQUAL: left != right,
        Comparison.LESS: left < right,
        Comparison.LESS_OR_EQUAL: left <= right,
        Comparison.GREATER: left > right,
        Comparison.GREATER_OR_EQUAL: left >= right,
    }[comparison]


def _matches(terms: SearchTerms, text: str, words: Callable[[str], Sequence[str]] = words_of) -> bool:
    for term in terms.terms:
        if term.match is Match.WILD:
            if fnmatch.fnmatchcase(text.casefold(), term.text.casefold().replace("[", "[[]")):
                return True
        elif (wanted := words(term.text)) and all(
            any(word.startswith(each) for word in words(text)) for each in wanted
        ):
            return True
    return False


def _matches_text(terms: SearchTerms, text: str) -> bool:
    return _matches(terms, text, lambda each: each.lower().split())
