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
from terminology.releases.spool import Spool
from terminology.sctid import has_form
from terminology.text import words_of

Json = Any

SNOMED_CT = "http://snomed.info/sct"
US_ENGLISH = "900000000000509007"

_DIALECT_OF = {refset: alias for alias, refset in DIALECTS.items()}
_USES = {FULLY_SPECIFIED_NAME: "Fully specified name", SYNONYM: "Synonym", DEFINITION: "Definition"}
_TAG = re.compile(r"\(([^()]+)\)\s*$")
_BITS = {PREFERRED: 1, ACCEPTABLE: 2}  # of a description in one reference set


class Name(NamedTuple):
    """A description of a concept."""

    code: str
    effective_time: int
    active: bool
    module: str
    language: str
    kind: str
    term: str
    accepted: int  # two bits for each language reference set


class Names:
    """The descriptions of a release."""

    def __init__(self, concepts: Concepts) -> None:
        self._concepts = concepts
        self._languages: list[str] = []  # language reference sets, in the order of their bits
        self._known_held: dict[int, Mapping[str, str]] = {}  # what bits say: few are different

    def read(self, spool: Spool) -> None:
        """Put all into a spool by concept: the place of the concept, then a `Name`."""
        accepted = self._read_languages()
        for kind in (FileKind.DESCRIPTION, FileKind.TEXT_DEFINITION):
            for file, row in self._concepts.rows(kind):
                code, time, active, module, concept, language, kind_of, term = row.values[:8]
                owner = self._concepts.known(file, row, concept)
                if not has_form(code) or kind_of not in _USES:
                    what = f"'{code[:30]}' of type '{kind_of[:30]}' is no description"
                    raise fault(file.label, row.line, what)
                if not term or "\0" in term:
                    raise fault(file.label, row.line, "the term is empty, or cannot be kept")
                bits, is_active = accepted.get(int(code), 0), active == "1"
                name = (code, int(time[:8] or 0), is_active, module, language, kind_of, term, bits)
                spool.add(owner, (owner, *name))

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

    def held(self, name: Name) -> Mapping[str, str]:
        """The language reference sets that have a description, and how: "p" preferred, "a" acceptable."""
        found = self._known_held.get(name.accepted)
        if found is None:
            bits = [(refset, name.accepted >> 2 * at & 3) for at, refset in enumerate(self._languages)]
            found = {refset: "p" if how & _BITS[PREFERRED] else "a" for refset, how in bits if how}
            self._known_held[name.accepted] = found
        return found

    def rank(self, name: Name) -> tuple[bool, int, bool, bool, str]:
        """What is shown first: active; a preferred synonym, American before others; then any name."""
        held = self.held(name)
        kind = {SYNONYM: 0, FULLY_SPECIFIED_NAME: 1}.get(name.kind, 2)
        return not name.active, kind, held.get(US_ENGLISH) != "p", "p" not in held.values(), name.code

    def designations(self, names: Sequence[Name]) -> Iterator[Json]:
        """CodeSystem.concept.designation."""
        for name in names:
            if name.kind == DEFINITION:
                continue
            use, display = (name.kind, _USES[name.kind]) if name.active else (NO_LONGER_USED, "Inactive")
            coding = {"system": SNOMED_CT, "code": use, "display": display}
            yield {"language": name.language, "use": coding, "value": name.term}
            if name.active and name.kind == SYNONYM:
                for refset, how in self.held(name).items():
                    alias = _DIALECT_OF.get(refset)
                    if how == "p" and alias is not None:
                        language = _bcp_47(alias)
                        yield {"language": language, "use": PREFERRED_FOR_LANGUAGE, "value": name.term}

    def row(self, name: Name) -> Mapping[str, Any]:
        """The columns of `TerminologyDescription` but for the concept."""
        return {
            "code": name.code,
            "active": name.active,
            "kind": name.kind,
            "module": name.module,
            "effective_time": name.effective_time,
            "language": name.language,
            "dialects": list(self.held(name).items()),
            "words": "".join(f" {word}" for word in words_of(name.term)),
            "term": name.term.casefold(),
        }


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
