"""Languages: which are wanted, and which name of a concept is shown (HL7 terminology ecosystem, "Languages").

`displayLanguage` and Accept-Language are lists of language ranges with weights (RFC 9110 §12.5.4), matched to
the languages of names as RFC 4647 §3.3.1 does; a range that is narrower than a name's language fits it too
(`de-CH` is content with `de`, §3.4). Whether other languages will do is said by `*`, or is not said.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from server.kernel.faults import FaultKind
from terminology.concept import STANDARDS_STATUS, Concept, Designation
from terminology.issues import TerminologyFault, TxType

MAX_RANGES = 40  # of one list
MAX_CHARACTERS = 500
ANY = "*"
PREFERRED = {
    "system": "http://terminology.hl7.org/CodeSystem/hl7TermMaintInfra",
    "code": "preferredForLanguage",
    "display": "Preferred For Language",
}
WITHDRAWN = frozenset({"withdrawn", "deprecated"})
NO_LONGER_USED = "900000000000546006"  # SNOMED CT: the use of an inactive description

_RANGE = re.compile(
    r"(?P<tag>\*|[A-Za-z]{1,8}(?:-(?:\*|[A-Za-z0-9]{1,8}))*)"
    r"(?:\s*;\s*[qQ]=(?P<weight>0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?"
)
_RANK_OF_USE = {"preferredForLanguage": 0, "display": 1, "900000000000013009": 2, "900000000000003001": 4}
_NO_USE, _OTHER_USE, _WITHDRAWN, _MAIN = 1, 3, 5, -1


class InvalidLanguage(TerminologyFault):
    """A `displayLanguage` that is no list of language ranges."""

    kind = FaultKind.INVALID
    tx = TxType.INVALID_DISPLAY


class LanguageRange(NamedTuple):
    """A language range, and how much it is wanted: 0 (not at all) to 1."""

    tag: str
    weight: float


@dataclass(frozen=True, slots=True)
class Languages:
    """The languages that are wanted, the most wanted first."""

    ranges: Sequence[LanguageRange]
    text: str  # as it is told again

    @property
    def others(self) -> bool | None:
        """Whether names in other languages will do; None: that is not said."""
        weight = next((each.weight for each in self.ranges if each.tag == ANY), None)
        return None if weight is None else weight > 0

    def refuse(self, language: str | None) -> bool:
        """Whether a language is named as one that is not wanted."""
        return language is not None and any(
            not each.weight and each.tag != ANY and fit(each.tag, language) is not None
            for each in self.ranges
        )


@lru_cache(256)
def parse_languages(text: str) -> Languages:
    """Read a list of language ranges: `de-CH, de;q=0.8, *;q=0`.

    Raises:
        InvalidLanguage: it is none.
    """
    ranges, weighted = [], False
    parts = [part.strip() for part in text.split(",")]
    if len(text) > MAX_CHARACTERS or len(parts) > MAX_RANGES:
        raise InvalidLanguage(f"Invalid displayLanguage: more than {MAX_RANGES} languages")
    for part in filter(None, parts):
        if (found := _RANGE.fullmatch(part)) is None:
            raise InvalidLanguage(f"Invalid displayLanguage: '{text}'")
        weighted = weighted or found["weight"] is not None
        ranges.append(LanguageRange(found["tag"], float(found["weight"] or 1)))
    if not ranges:
        raise InvalidLanguage(f"Invalid displayLanguage: '{text}'")
    told = (", " if weighted else ",").join(map(_told, ranges))
    return Languages(sorted(ranges, key=lambda each: -each.weight), told)


def _told(each: LanguageRange) -> str:
    return each.tag if each.weight == 1 else f"{each.tag}; q={each.weight:g}"


def languages_wanted(
    parameter: str | None, of_value_set: str | None, accept_language: str | None, language: str | None = None
) -> Languages | None:
    """What is wanted, the first that is said: parameter, ValueSet's parameter, header, ValueSet.language.

    None: nothing is said. An unreadable header counts as none (RFC 9110 §12.5.4).

    Raises:
        InvalidLanguage: a parameter is no list of language ranges.
    """
    if (stated := parameter or of_value_set) is not None:
        return parse_languages(stated)
    for text in (accept_language, language):
        if text:
            try:
                return parse_languages(text)
            except InvalidLanguage:
                continue
    return None


def fit(wanted: str, language: str) -> int | None:
    """How well a language fits a range: 0 the same, 1 a kind of it, 2 what it is a kind of; None: not."""
    wanted, language = wanted.lower(), language.lower()
    if wanted == language:
        return 0
    if language.startswith(wanted + "-"):
        return 1
    return 2 if wanted.startswith(language + "-") else None


def main_name(concept: Concept, language: str | None) -> Designation | None:
    """The display of a concept as one of its names; `language` is the code system's."""
    return None if concept.display is None else Designation(concept.display, language)


def choose_name(
    main: Designation | None, others: Sequence[Designation], languages: Languages | None
) -> Designation | None:
    """The name that is shown: the first of the most wanted language.

    None: there is no name in a language that is wanted. A main name whose language nobody states will do.
    """
    if languages is None:
        return main
    for wanted in languages.ranges:
        if not wanted.weight:
            break
        if wanted.tag == ANY:
            return main or next(iter(others), None)
        if (found := _nearest(wanted.tag, main, others)) is not None and not languages.refuse(found.language):
            return found
    if main is not None and main.language is None:
        return main
    if languages.others is False or (main is not None and languages.refuse(main.language)):
        return None
    return main


def _nearest(wanted: str, main: Designation | None, others: Sequence[Designation]) -> Designation | None:
    best: tuple[int, int] | None = None
    chosen = None
    for name in (main, *others):
        if name is None or name.language is None or (how := fit(wanted, name.language)) is None:
            continue
        rank = (how, _MAIN if name is main else _rank(name))
        if best is None or rank < best:
            best, chosen = rank, name
    return chosen


def _rank(name: Designation) -> int:
    """Of two names in the same language the one with the lower rank is shown."""
    if is_withdrawn(name):
        return _WITHDRAWN
    return _NO_USE if name.use is None else _RANK_OF_USE.get(name.use.get("code", ""), _OTHER_USE)


def is_withdrawn(name: Designation) -> bool:
    """Whether a name is no longer to be used (ecosystem, "Inactive Codes")."""
    if name.use is not None and name.use.get("code") == NO_LONGER_USED:
        return True
    return any(
        each.get("url") == STANDARDS_STATUS and str(each.get("valueCode")) in WITHDRAWN
        for each in name.extensions
    )
