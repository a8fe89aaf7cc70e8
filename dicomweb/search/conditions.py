"""Attribute Matching: the text of a query parameter becomes a condition value (PS3.4 C.2.2.2). Pure.

Stricter than the text: a value that its VR does not allow is refused with 400, not matched by nothing.
More lenient: names match without case and accents; a TM of low precision matches the whole span it names;
CS takes lists like UI (viewers send `ModalitiesInStudy=CT,MR`).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dicomweb.normal_forms import LAST_MOMENT, fold, normal_date, normal_time
from dicomweb.phonetic import sound_of, words_of
from server.kernel.faults import Fault

MAX_VALUE_CHARACTERS = 4096
MAX_LISTED_UIDS = 500  # as many UIDs as fit an ordinary request line of 32 KiB
UID_AND_COMMA = 65  # characters, at most (PS3.5 §9.1)
MAX_FUZZY_WORDS = 16  # of a name: each is a look-up of its own
MAX_ALTERNATIVES = 200  # of all conditions of a query together: a code or a word to be matched fuzzily is one
MAX_LISTED_CODES = 100  # alternatives of one expression: SQLite takes no tree that is deeper than 1000
_UID = re.compile(r"[0-9.]{1,64}")
_LIST = re.compile(r"[,\\]")
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")  # of an IS, PS3.5 Table 6.2-1


class InvalidQuery(Fault):
    """A query parameter cannot be understood (PS3.18 8.3.4, status 400)."""


@dataclass(frozen=True, slots=True)
class Range:
    """Range Matching, bounds inclusive; "" leaves a side open (PS3.4 C.2.2.2.5)."""

    low: str
    high: str


@dataclass(frozen=True, slots=True)
class Text:
    """Single Value or Wild Card Matching: `*` any characters, `?` one (PS3.4 C.2.2.2.1, C.2.2.2.4)."""

    pattern: str

    @property
    def is_wildcard(self) -> bool:
        """Whether the pattern has wild cards."""
        return "*" in self.pattern or "?" in self.pattern


@dataclass(frozen=True, slots=True)
class AnyText:
    """At least one of these patterns matches."""

    patterns: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class AnyUid:
    """List of UID Matching (PS3.4 C.2.2.2.2)."""

    uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Name:
    """A PN by component groups, folded; a single group is looked for in all three."""

    groups: tuple[Text, ...]

    @property
    def is_any(self) -> bool:
        """Whether it asks for nothing: delimiters and `*` alone."""
        return not any(group.pattern.strip("*^") for group in self.groups)


@dataclass(frozen=True, slots=True)
class FuzzyName:
    """A PN that matches literally, or that has every one of these words (PS3.18 8.3.4.2).

    It has a word when one of its own, in any place, sounds alike or begins with it.
    """

    literal: Name
    words: tuple[tuple[str, str], ...]  # each with its sound


@dataclass(frozen=True, slots=True)
class Number:
    """An IS."""

    value: int


Condition = Range | Text | AnyText | AnyUid | Name | FuzzyName | Number


def parse_condition(vr: str, keyword: str, value: str) -> Condition | None:
    """What `value` asks of an attribute; None: Universal Matching (PS3.4 C.2.2.2.3).

    Raises:
        InvalidQuery: the VR does not allow the value; the message names the attribute.
    """
    longest = MAX_LISTED_UIDS * UID_AND_COMMA if vr == "UI" else MAX_VALUE_CHARACTERS
    if len(value) > longest or "\x00" in value:
        raise InvalidQuery(f"{keyword}: the value is too long or holds a NUL.")
    value = value.strip(" ")
    if not value.strip("*"):
        return None
    try:
        condition = _PARSERS.get(vr, Text)(value)
    except ValueError as error:
        raise InvalidQuery(f"{keyword}: {error}.") from error
    return None if isinstance(condition, Name) and condition.is_any else condition


def made_fuzzy(name: Name) -> Name | FuzzyName:
    """A name as fuzzy matching takes it; with a wild card within a word there is only the literal match.

    Raises:
        InvalidQuery: more words than a name has.
    """
    words = words_of(" ".join(group.pattern for group in name.groups))
    plain = tuple(filter(None, (word.strip("*") for word in words)))
    if len(plain) > MAX_FUZZY_WORDS:
        raise InvalidQuery(f"fuzzymatching: a name of more than {MAX_FUZZY_WORDS} words.")
    if not plain or any(Text(word).is_wildcard for word in plain):
        return name
    return FuzzyName(name, tuple((word, sound_of(word)) for word in plain))


def require_few(conditions: Iterable[object]) -> None:
    """See that a query has not more conditions than a statement can be made of in a moment.

    Raises:
        InvalidQuery: it has; 3000 took seconds, in which nobody else was answered.
    """
    if sum(map(_alternatives, conditions)) > MAX_ALTERNATIVES:
        raise InvalidQuery(f"A query of more than {MAX_ALTERNATIVES} codes, names and other conditions.")


def _alternatives(condition: object) -> int:
    match condition:
        case AnyText():
            return len(condition.patterns)
        case FuzzyName():
            return len(condition.words)
    return 1


def _date_range(value: str) -> Range:
    low, dash, high = _bounds(value)
    bounds = Range(normal_date(low), normal_date(high if dash else low))
    _require_parsed(bounds, low, high, "not a DA or a range of DA")
    return bounds


def _time_range(value: str) -> Range:
    low, dash, high = _bounds(value)
    bounds = Range(normal_time(low), normal_time(high if dash else low, LAST_MOMENT))
    _require_parsed(bounds, low, high, "not a TM or a range of TM")
    return bounds


def _bounds(value: str) -> tuple[str, str, str]:
    """Both sides of a range and what parts them; the text writes blanks around it (PS3.4 C.2.2.2.5)."""
    low, dash, high = value.partition("-")
    return low.strip(" "), dash, high.strip(" ")


def _require_parsed(bounds: Range, low: str, high: str, problem: str) -> None:
    if (low and not bounds.low) or (high and not bounds.high) or not (bounds.low or bounds.high):
        raise ValueError(problem)


def _any_uid(value: str) -> AnyUid:
    uids = tuple(uid.strip() for uid in _LIST.split(value) if uid.strip())
    if len(uids) > MAX_LISTED_UIDS:
        raise ValueError(f"more than {MAX_LISTED_UIDS} UIDs")
    if not uids or not all(map(_UID.fullmatch, uids)):
        raise ValueError("not a UID or a list of UIDs")
    return AnyUid(uids)


def _any_code(value: str) -> AnyText:
    codes = dict.fromkeys(code.strip().upper() for code in _LIST.split(value) if code.strip())
    if not 0 < len(codes) <= MAX_LISTED_CODES:
        raise ValueError(f"no code, or more than {MAX_LISTED_CODES}")
    return AnyText(tuple(map(Text, codes)))


def _name(value: str) -> Name:
    return Name(tuple(Text(fold(group)) for group in value.split("=")[:3]))


def _number(value: str) -> Number:
    if not _INTEGER.fullmatch(value) or not -(2**31) <= int(value) < 2**31:
        raise ValueError("not an IS")
    return Number(int(value))


_PARSERS: Mapping[str, Callable[[str], Condition]] = {
    "DA": _date_range,
    "TM": _time_range,
    "UI": _any_uid,
    "CS": _any_code,
    "PN": _name,
    "IS": _number,
}
