"""Filters and history supplements between double braces (ECL 2.2, §6.8 to §6.11)."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from terminology.ecl.concepts import ACCEPTABILITIES, DEFINITION_STATUSES, DIALECTS, HISTORY, TYPES
from terminology.ecl.scan import Scanner
from terminology.ecl.syntax import (
    Active,
    AnyConcept,
    Comparison,
    ConceptReference,
    DefinitionStatus,
    DescriptionId,
    Dialect,
    Dialects,
    EffectiveTime,
    Either,
    Expression,
    Language,
    MemberField,
    MemberOf,
    Module,
    Term,
    Type,
    WithDescription,
    WithHistory,
    WithState,
)
from terminology.ecl.values import (
    Read,
    read_comparison,
    read_concepts,
    read_reference,
    read_set,
    read_terms,
    read_times,
    read_value,
)

_LANGUAGE = re.compile(r"[A-Za-z]{2}(?![A-Za-z])")
_CODE = re.compile(r"[1-9][0-9]{5,17}")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_FIELD = re.compile(r"[A-Za-z]+")
_PROFILE = re.compile(r"[-_](min|mod|max)", re.IGNORECASE)
_ACTIVE: Mapping[str, bool | None] = {"1": True, "0": False, "true": True, "false": False, '"*"': None}

Reader = Callable[[Scanner, Read], Any]


def read_member_filters(scanner: Scanner, of: MemberOf, read: Read) -> MemberOf:
    """The member filters that follow `^` and what it is applied to."""
    found: tuple[Any, ...] = of.filters
    while _begins(scanner, "m"):
        found += _braces(scanner, read, "m", _MEMBER_FILTERS)
    return MemberOf(of.of, of.fields, found)


def read_filters(scanner: Scanner, of: Expression, read: Read) -> Expression:
    """The description and concept filters that follow, and the history supplement after them."""
    while scanner.sees("{{"):
        if _begins(scanner, "+"):
            return WithHistory(of, _history(scanner, read))
        if _begins(scanner, "m"):
            raise scanner.fault("a member filter belongs right after '^' and its reference set")
        if _begins(scanner, "c"):
            of = WithState(of, _braces(scanner, read, "c", _CONCEPT_FILTERS))
        else:
            of = WithDescription(of, _braces(scanner, read, "d", _DESCRIPTION_FILTERS))
    return of


def _begins(scanner: Scanner, kind: str) -> bool:
    """Whether a filter of a kind comes next: a letter that stands alone."""
    start = scanner.at
    found = scanner.takes("{{") and (scanner.sees("+") if kind == "+" else scanner.word() == kind)
    scanner.at = start
    return found


def _braces(scanner: Scanner, read: Read, kind: str, known: Mapping[str, Reader]) -> tuple[Any, ...]:
    scanner.enter("{{")
    scanner.takes_word(kind)
    found = [_filter(scanner, read, known)]
    while scanner.takes(","):
        found.append(_filter(scanner, read, known))
    scanner.leave("}}")
    return tuple(found)


def _filter(scanner: Scanner, read: Read, known: Mapping[str, Reader]) -> Any:
    scanner.count()
    word = scanner.word()
    reader = known.get(word)
    if reader is not None:
        scanner.takes_word(word)
        return reader(scanner, read)
    if "" in known and word:
        return known[""](scanner, read)
    raise scanner.expected(f"one of {', '.join(each for each in known if each)}")


def _term(scanner: Scanner, _: Read) -> Term:
    return Term(read_comparison(scanner, ordered=False), read_terms(scanner))


def _language(scanner: Scanner, _: Read) -> Language:
    comparison = read_comparison(scanner, ordered=False)
    codes = read_set(scanner, lambda each: _required(each, _LANGUAGE, "a language of two letters").lower())
    return Language(comparison, codes)


def _type(scanner: Scanner, _: Read) -> Type:
    return Type(read_comparison(scanner, ordered=False), _tokens(scanner, TYPES))


def _type_id(scanner: Scanner, read: Read) -> Type:
    return Type(read_comparison(scanner, ordered=False), read_concepts(scanner, read))


def _dialect(scanner: Scanner, _: Read) -> Dialects:
    comparison = read_comparison(scanner, ordered=False)
    return _dialects(scanner, comparison, _alias)


def _dialect_id(scanner: Scanner, read: Read) -> Dialects:
    comparison = read_comparison(scanner, ordered=False)
    start = scanner.at, scanner.depth, scanner.parts
    if scanner.takes("(") and _CODE.match(scanner.text, scanner.at):
        read_reference(scanner)
        is_set = scanner.sees("(") or scanner.sees(")") or _CODE.match(scanner.text, scanner.at)
        scanner.at, scanner.depth, scanner.parts = start
        if is_set:
            return _dialects(scanner, comparison, read_reference)
    scanner.at, scanner.depth, scanner.parts = start
    return Dialects(comparison, (Dialect(read(scanner), _acceptabilities(scanner)),))


def _dialects(
    scanner: Scanner, comparison: Comparison, read: Callable[[Scanner], ConceptReference]
) -> Dialects:
    """One or several, each with acceptabilities, or with those that stand after all of them."""

    def one(scanner: Scanner) -> Dialect:
        scanner.count()
        refset = read(scanner)
        return Dialect(refset, _acceptabilities(scanner) if is_set else ())

    is_set = scanner.sees("(")
    found = read_set(scanner, one)
    for_all = _acceptabilities(scanner)
    return Dialects(
        comparison, tuple(Dialect(each.refset, each.acceptabilities or for_all) for each in found)
    )


def _alias(scanner: Scanner) -> ConceptReference:
    start = scanner.at
    alias = _required(scanner, _ALIAS, "a dialect")
    code = DIALECTS.get(alias.lower())
    if code is None:
        raise scanner.fault(f"the dialect '{alias}' is not known; dialectId names its reference set", start)
    return ConceptReference(code)


def _acceptabilities(scanner: Scanner) -> tuple[str, ...]:
    if not scanner.sees("("):
        return ()
    return read_set(scanner, _acceptability)


def _acceptability(scanner: Scanner) -> str:
    word = scanner.word()
    if word in ACCEPTABILITIES:
        scanner.takes_word(word)
        return ACCEPTABILITIES[word]
    return read_reference(scanner).code


def _module(scanner: Scanner, read: Read) -> Module:
    return Module(read_comparison(scanner, ordered=False), read_concepts(scanner, read))


def _effective_time(scanner: Scanner, _: Read) -> EffectiveTime:
    return EffectiveTime(read_comparison(scanner), read_times(scanner))


def _active(scanner: Scanner, _: Read) -> Active:
    comparison = read_comparison(scanner, ordered=False)
    for text, value in _ACTIVE.items():
        if scanner.takes(text):
            return Active(not value if value is not None and comparison is Comparison.NOT_EQUAL else value)
    raise scanner.expected("1, 0, true or false")


def _description_id(scanner: Scanner, _: Read) -> DescriptionId:
    comparison = read_comparison(scanner, ordered=False)
    codes = read_set(scanner, lambda each: _required(each, _CODE, "an identifier"))
    return DescriptionId(comparison, codes)


def _status(scanner: Scanner, _: Read) -> DefinitionStatus:
    return DefinitionStatus(read_comparison(scanner, ordered=False), _tokens(scanner, DEFINITION_STATUSES))


def _status_id(scanner: Scanner, read: Read) -> DefinitionStatus:
    return DefinitionStatus(read_comparison(scanner, ordered=False), read_concepts(scanner, read))


def _field(scanner: Scanner, read: Read) -> MemberField:
    name = _required(scanner, _FIELD, "the name of a field")
    comparison = read_comparison(scanner)
    if comparison in (Comparison.EQUAL, Comparison.NOT_EQUAL) or scanner.sees("#"):
        return MemberField(name, comparison, read_value(scanner, read))
    return MemberField(name, comparison, read_times(scanner))


def _tokens(scanner: Scanner, known: Mapping[str, str]) -> Expression:
    """Keywords that stand for concepts."""

    def one(scanner: Scanner) -> ConceptReference:
        scanner.count()
        word = scanner.word()
        if word not in known:
            raise scanner.expected(f"one of {', '.join(known)}")
        scanner.takes_word(word)
        return ConceptReference(known[word])

    found = read_set(scanner, one)
    return found[0] if len(found) == 1 else Either(found)


def _history(scanner: Scanner, read: Read) -> Expression:
    scanner.enter("{{")
    scanner.take("+")
    if not scanner.takes_word("history"):
        raise scanner.expected("'HISTORY'")
    profile = scanner.matches(_PROFILE)
    if profile is not None:
        refsets = HISTORY[profile.strip()[1:].lower()]
    else:
        refsets = read(scanner) if scanner.sees("(") else AnyConcept()
    scanner.leave("}}")
    return refsets


def _required(scanner: Scanner, pattern: re.Pattern[str], what: str) -> str:
    found = scanner.matches(pattern)
    if found is None:
        raise scanner.expected(what)
    return found.rstrip()


_SHARED: Mapping[str, Reader] = {
    "moduleid": _module,
    "effectivetime": _effective_time,
    "active": _active,
}
_DESCRIPTION_FILTERS: Mapping[str, Reader] = {
    "term": _term,
    "language": _language,
    "type": _type,
    "typeid": _type_id,
    "dialect": _dialect,
    "dialectid": _dialect_id,
    "id": _description_id,
    **_SHARED,
}
_CONCEPT_FILTERS: Mapping[str, Reader] = {
    "definitionstatus": _status,
    "definitionstatusid": _status_id,
    **_SHARED,
}
_MEMBER_FILTERS: Mapping[str, Reader] = {**_SHARED, "": _field}  # "": any other name is a field's
