"""The `_filter` language, read into a value (FHIR R4 search_filter.html).

`and` binds closer than `or`. Pure: what the paths and operators mean is told by `fhir/search/filtered.py`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fhir.search.value import InvalidSearch, UnsupportedSearch

MAX_FILTER_CHARACTERS = 10_000
MAX_FILTER_DEPTH = 20  # of parentheses
MAX_COMPARISONS = 100  # of one filter: each is a subquery

OPERATORS = frozenset(
    {
        "eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "ap", "sa", "eb", "pr", "po", "ss", "sb", "in",
        "ni", "re",
    }
)  # fmt: skip

_WORD = re.compile(
    r'\s*(?:(?P<paren>[()\[\]])|(?P<text>"(?:[^"\\]|\\.)*")|(?P<word>[^\s()\[\]"]+))', re.DOTALL
)
_PATH = re.compile(r"[A-Za-z_][\w\-]*(:[A-Z][A-Za-z]+)?(\.[A-Za-z_][\w\-]*(:[A-Z][A-Za-z]+)?)*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`path operator value`."""

    path: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Negation:
    """`not (…)`."""

    inner: "Filter"


@dataclass(frozen=True, slots=True)
class Together:
    """`… and …`."""

    inner: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """`… or …`."""

    inner: tuple["Filter", ...]


Filter = Comparison | Negation | Together | Alternatives


def parse_filter(text: str) -> Filter:
    """The filter that a text states.

    Raises:
        InvalidSearch: it is none, or beyond the limits.
        UnsupportedSearch: a filter within a path (`name[use eq official].given`).
    """
    if len(text) > MAX_FILTER_CHARACTERS:
        raise InvalidSearch(f"'_filter' has more than {MAX_FILTER_CHARACTERS} characters.")
    reader = _Reader(_words(text))
    found = reader.alternatives(0)
    if reader.peek() is not None:
        raise InvalidSearch("'_filter' goes on where it should end.")
    return found


def _words(text: str) -> list[str]:
    words, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            raise InvalidSearch("'_filter' has a quotation mark without another.")
        words.append(match[0].strip())
        at = match.end()
    return words


class _Reader:
    def __init__(self, words: Sequence[str]) -> None:
        self._words, self._at, self._comparisons = words, 0, 0

    def peek(self) -> str | None:
        return self._words[self._at] if self._at < len(self._words) else None

    def take(self) -> str:
        word = self.peek()
        if word is None:
            raise InvalidSearch("'_filter' ends too early.")
        self._at += 1
        return word

    def alternatives(self, depth: int) -> Filter:
        found = [self._together(depth)]
        while self.peek() == "or":
            self.take()
            found.append(self._together(depth))
        return found[0] if len(found) == 1 else Alternatives(tuple(found))

    def _together(self, depth: int) -> Filter:
        found = [self._single(depth)]
        while self.peek() == "and":
            self.take()
            found.append(self._single(depth))
        return found[0] if len(found) == 1 else Together(tuple(found))

    def _single(self, depth: int) -> Filter:
        if depth > MAX_FILTER_DEPTH:
            raise InvalidSearch(f"'_filter' is nested deeper than {MAX_FILTER_DEPTH}.")
        word = self.take()
        if word == "(":
            return self._closed(depth)
        if word == "not" and self.peek() == "(":
            self.take()
            return Negation(self._closed(depth))
        return self._comparison(word)

    def _closed(self, depth: int) -> Filter:
        found = self.alternatives(depth + 1)
        if self.take() != ")":
            raise InvalidSearch("'_filter' has a parenthesis without another.")
        return found

    def _comparison(self, path: str) -> Comparison:
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            raise InvalidSearch(f"'_filter' has more than {MAX_COMPARISONS} comparisons.")
        if self.peek() == "[":
            raise UnsupportedSearch("'_filter' takes no filter within a path.")
        operator = self.take()
        if not _PATH.fullmatch(path) or operator not in OPERATORS:
            raise InvalidSearch("'_filter' has something else where 'path operator value' should be.")
        return Comparison(path, operator, _value(self.take()))


def _value(word: str) -> str:
    if word in ("(", ")", "[", "]"):
        raise InvalidSearch("'_filter' has no value where one should be.")
    if word.startswith('"'):
        return _ESCAPE.sub(_unescaped, word[1:-1])
    return word


def _unescaped(match: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1])
