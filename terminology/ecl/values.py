"""What attributes and filters are compared with (ECL 2.2, §5.1: numericValue, typedSearchTerm, timeValue)."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import NoReturn, TypeVar

from terminology.ecl.scan import Scanner
from terminology.ecl.syntax import (
    Boolean,
    Comparison,
    ConceptReference,
    Either,
    Expression,
    Match,
    Number,
    SearchTerm,
    SearchTerms,
    Times,
)
from terminology.text import MAX_WORDS

T = TypeVar("T")
Read = Callable[[Scanner], Expression]

_CODE = re.compile(r"[0-9]+")
_MIN_CODE, _MAX_CODE = 6, 18  # digits of an SCTID
_ALTERNATE = re.compile(r'"|[A-Za-z][A-Za-z0-9-]*#')
_NUMBER = re.compile(r"#[+-]?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_TERMS = re.compile(
    r'(?:\((?:[ \t\r\n]|/\*.*?\*/)*)?(?:"|(?:match|wild)[ \t\r\n]*:)', re.DOTALL | re.IGNORECASE
)
_DATE = re.compile(r'"((?:[1-9][0-9]{3}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))?)"')
_SIGNS = (  # longest first
    ("<>", Comparison.NOT_EQUAL),
    ("!=", Comparison.NOT_EQUAL),
    ("<=", Comparison.LESS_OR_EQUAL),
    (">=", Comparison.GREATER_OR_EQUAL),
    ("=", Comparison.EQUAL),
    ("<", Comparison.LESS),
    (">", Comparison.GREATER),
)


def read_reference(scanner: Scanner) -> ConceptReference:
    """The rule `eclConceptReference`."""
    start = scanner.at
    code = scanner.matches(_CODE)
    if code is None:
        _refuse(scanner)
    if not _MIN_CODE <= len(code) <= _MAX_CODE or code[0] == "0":
        raise scanner.fault(f"'{code[:30]}' is no concept identifier", start)
    scanner.skip_term()
    return ConceptReference(code)


def _refuse(scanner: Scanner) -> NoReturn:
    if _ALTERNATE.match(scanner.text, scanner.at):
        raise scanner.fault("alternate identifiers are not supported")
    raise scanner.expected("a concept, '*' or '('")


def read_comparison(scanner: Scanner, *, ordered: bool = True) -> Comparison:
    """A comparison operator; `ordered`: also those of less and more."""
    if scanner.takes_word("not"):
        scanner.take("=")
        return Comparison.NOT_EQUAL
    for sign, comparison in _SIGNS:
        if scanner.sees(sign):
            if not ordered and comparison not in (Comparison.EQUAL, Comparison.NOT_EQUAL):
                break
            scanner.takes(sign)
            return comparison
    raise scanner.expected("a comparison ('=', '!='…)" if ordered else "'=' or '!='")


def read_value(scanner: Scanner, read: Read) -> Expression | Number | SearchTerms | Boolean:
    """What an attribute, or a field of a reference set, is compared with."""
    if scanner.sees("#"):
        return _number(scanner)
    if _TERMS.match(scanner.text, scanner.at):
        return read_terms(scanner)
    if scanner.word() in ("true", "false"):
        return Boolean(scanner.takes_word("true") or not scanner.takes_word("false"))
    return read(scanner)


def _number(scanner: Scanner) -> Number:
    found = scanner.matches(_NUMBER)
    if found is None:
        raise scanner.expected("a number")
    return Number(Decimal(found[1:]))


def read_terms(scanner: Scanner) -> SearchTerms:
    """typedSearchTerm, or a set of them."""
    return SearchTerms(read_set(scanner, _term))


def read_set(scanner: Scanner, read: Callable[[Scanner], T]) -> tuple[T, ...]:
    """One, or several between brackets."""
    if not scanner.sees("("):
        return (read(scanner),)
    scanner.enter("(")
    found = [read(scanner)]
    while not scanner.sees(")"):
        found.append(read(scanner))
    scanner.leave(")")
    return tuple(found)


def _term(scanner: Scanner) -> SearchTerm:
    scanner.count()
    is_wild = scanner.word() == "wild"
    if scanner.takes_word("match", "wild"):
        scanner.take(":")
    start = scanner.at
    found = scanner.matches(_TEXT)
    if found is None:
        raise scanner.expected("a text between two '\"'")
    text = found.rstrip()[1:-1]
    if is_wild and text:
        return SearchTerm(Match.WILD, text.replace('\\"', '"'))
    words = re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL).split()
    if not 0 < len(words) <= MAX_WORDS:
        raise scanner.fault(f"a search term has 1 to {MAX_WORDS} words", start)
    return SearchTerm(Match.WORDS, " ".join(words))


def read_times(scanner: Scanner) -> Times:
    """timeValue, or a set of them."""
    return Times(read_set(scanner, _time))


def _time(scanner: Scanner) -> int:
    scanner.count()
    found = scanner.matches(_DATE)
    if found is None:
        raise scanner.expected('a date "YYYYMMDD"')
    return int(found.strip().strip('"') or 0)


def read_concepts(scanner: Scanner, read: Read) -> Expression:
    """An expression, or concepts alone between brackets (`eclConceptReferenceSet`)."""
    start = scanner.at, scanner.depth, scanner.parts
    if scanner.takes("("):
        scanner.depth += 1
        references = []
        while _CODE.match(scanner.text, scanner.at):
            scanner.count()
            references.append(read_reference(scanner))
        if len(references) > 1 and scanner.sees(")"):
            scanner.leave(")")
            return Either(tuple(references))
        scanner.at, scanner.depth, scanner.parts = start
    return read(scanner)
