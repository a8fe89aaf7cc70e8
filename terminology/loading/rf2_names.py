"""Descriptions of an RF2 release and language reference sets (Release File Specifications §4.2.2, §5.2.2)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from terminology.ecl.concepts import (
    ACCEPTABLE,
    DEFINITION,
    DIALECTS,
    FULLY_SPECIFIED_NAME,
    PREFERRED,
    SYNONYM,
)
from terminology.language import NO_LONGER_USED
from terminology.language import PREFERRED as PREFERRED_FOR_LANGUAGE
from terminology.loading.files import fault
from terminology.loading.rf2_concepts import Concepts
from terminology.loading.rf2_files import FileKind
from terminology.releases.draft import ReleaseDraft
from terminology.releases.spool import Spool
from terminology.sctid import has_form
from terminology.text import words_of

Json = Any

SNOMED_CT = "http://snomed.info/sct"
US_ENGLISH = "900000000000509007"

_DIALECT_OF = {refset: alias for alias, refset in DIALECTS.items()}
_USES = {FULLY_SPECIFIED_NAME: "Fully specified name", SYNONYM: "Synonym", DEFINITION: "Definition"}
_RANKS = {SYNONYM: 0, FULLY_SPECIFIED_NAME: 1, DEFINITION: 2}
_CODINGS = {kind: {"system": SNOMED_CT, "code": kind, "display": use} for kind, use in _USES.items()}
_INACTIVE = {"system": SNOMED_CT, "code": NO_LONGER_USED, "display": "Inactive"}
_TAG = re.compile(r"\(([^()]+)\)\s*$")
_BITS = {PREFERRED: 1, ACCEPTABLE: 2}  # of a description in one reference set


class Name(NamedTuple):
    """A description of a concept; other concepts are named as the draft does. The first two are its order."""

    rank: int
    code: str
    effective_time: int
    active: bool
    module: int
    language: str
    kind: str
    term: str
    accepted: int  # two bits for each language reference set


class Accepted(NamedTuple):
    """What language reference sets say of a description."""

    dialects: int  # as the draft names them
    languages: Sequence[str]  # in which it is preferred
    rank: int


class Names:
    """The descriptions of a release."""

    def __init__(self, concepts: Concepts, draft: ReleaseDraft) -> None:
        self._concepts, self._draft = concepts, draft
        self._languages: list[str] = []  # language reference sets, in the order of their bits
        self._known_accepted: dict[int, Accepted] = {}  # what bits say: few are different
        self._kinds = {kind: draft.index_of(kind) for kind in _USES}

    def read(self, spool: Spool) -> None:
        """Put all into a spool by the place of the concept: the values of a `Name`."""
        accepted, index, index_of = self._read_languages(), self._concepts.index, self._draft.index_of
        for kind in (FileKind.DESCRIPTION, FileKind.TEXT_DEFINITION):
            for file, row in self._concepts.rows(kind):
                code, time, active, module, concept, language, kind_of, term = row.values[:8]
                owner = index.get(concept)
                if owner is None:
                    owner = self._concepts.known(file, row, concept)
                if not has_form(code) or kind_of not in _USES:
                    what = f"'{code[:30]}' of type '{kind_of[:30]}' is no description"
                    raise fault(file.label, row.line, what)
                if not term or "\0" in term:
                    raise fault(file.label, row.line, "the term is empty, or cannot be kept")
                bits, is_active = accepted.get(int(code), 0), active == "1"
                rank = self._rank(is_active, kind_of, bits)
                time_of = int(time[:8] or 0)
                spool.add(
                    owner,
                    (rank, code, time_of, is_active, index_of(module), language, kind_of, term, bits),
                )

    def _read_languages(self) -> Mapping[int, int]:
        """How each description is accepted."""
        accepted: dict[int, int] = {}
        places: dict[str, int] = {}
        for file, row in self._concepts.rows(FileKind.LANGUAGE):
            if row.values[2] == "0":
                continue
            refset, description, acceptability = row.values[4:7]
            how = _BITS.get(acceptability)
            if how is None or not has_form(description):
                what = f"'{acceptability[:30]}' is no acceptability of a description"
                raise fault(file.label, row.line, what)
            if refset not in places:
                self._concepts.known(file, row, refset)
                places[refset] = 2 * len(places)
            key = int(description)
            accepted[key] = accepted.get(key, 0) | how << places[refset]
        self._languages = list(places)
        return accepted

    def _accepted(self, bits: int) -> Accepted:
        found = self._known_accepted.get(bits)
        if found is None:
            told = [(refset, bits >> 2 * at & 3) for at, refset in enumerate(self._languages)]
            held = {refset: "p" if how & _BITS[PREFERRED] else "a" for refset, how in told if how}
            aliases = [_DIALECT_OF.get(refset) for refset, how in held.items() if how == "p"]
            found = self._known_accepted[bits] = Accepted(
                self._draft.dialects_of(held.items()),
                [_bcp_47(alias) for alias in aliases if alias is not None],
                (held.get(US_ENGLISH) != "p") << 1 | ("p" not in held.values()),
            )
        return found

    def _rank(self, active: bool, kind: str, bits: int) -> int:
        """What is shown first: active; a preferred synonym, American before others; then any name."""
        return (not active) << 4 | _RANKS[kind] << 2 | self._accepted(bits).rank

    def designations(self, names: Sequence[Name]) -> Iterator[Json]:
        """CodeSystem.concept.designation."""
        for name in names:
            if name.kind == DEFINITION:
                continue
            use = _CODINGS[name.kind] if name.active else _INACTIVE
            yield {"language": name.language, "use": use, "value": name.term}
            if name.active and name.kind == SYNONYM:
                for language in self._accepted(name.accepted).languages:
                    yield {"language": language, "use": PREFERRED_FOR_LANGUAGE, "value": name.term}

    def row(self, concept: int, n: int, name: Name) -> Sequence[Any]:
        """A row of `TerminologyDescription`, as drafts take it."""
        words = "".join([f" {word}" for word in words_of(name.term)])
        _, code, time, active, module, language, kind, term, accepted = name
        dialects = self._accepted(accepted).dialects
        kind_of = self._kinds[kind]
        return 0, concept, n, code, active, kind_of, module, time, language, dialects, words, term.casefold()


def display_of(names: Sequence[Name]) -> str | None:
    """The display, of names by their rank."""
    return next((each.term for each in names if each.kind != DEFINITION), None)


def definition_of(names: Sequence[Name]) -> str | None:
    """The text definition; None: there is none."""
    return next((each.term for each in names if each.active and each.kind == DEFINITION), None)


def semantic_tag(names: Sequence[Name]) -> Sequence[str]:
    """What stands between brackets at the end of the fully specified name; it may have none."""
    full = next((each.term for each in names if each.active and each.kind == FULLY_SPECIFIED_NAME), "")
    found = _TAG.search(full)
    return () if found is None else (found[1],)


def _bcp_47(alias: str) -> str:
    """`en-us` as `en-US`; what is private stays in lower case."""
    language, dash, rest = alias.partition("-")
    return f"{language}-{rest.upper()}" if dash and "-" not in rest else alias
