"""A SNOMED CT release in Release Format 2 becomes a draft (Release File Specifications §4 and §5).

Read by line: concepts; language reference sets; descriptions; relationships that are inferred; concrete
values; simple, association and map reference sets. Inactive concepts stay, as inactive ones. Of other
components inactive descriptions stay alone, as names that are no longer used.
"""

import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from terminology.ecl.concepts import (
    ACCEPTABLE,
    DEFINED,
    DEFINITION,
    DIALECTS,
    FULLY_SPECIFIED_NAME,
    PREFERRED,
    PRIMITIVE,
    SYNONYM,
)
from terminology.language import NO_LONGER_USED
from terminology.language import PREFERRED as PREFERRED_FOR_LANGUAGE
from terminology.loading.files import Progress, ReleaseFiles, UnreadableRelease, fault
from terminology.loading.rf2_edition import Edition, name_edition
from terminology.loading.rf2_files import FileKind, ReleaseFile, Row, find_files, read_latest
from terminology.releases.draft import ReleaseDraft
from terminology.releases.spool import Spool
from terminology.sctid import has_form, why_invalid
from terminology.tables import (
    TerminologyConceptState,
    TerminologyConcreteValue,
    TerminologyDescription,
    TerminologyMember,
    TerminologyRelation,
)
from terminology.text import words_of

Json = Any
Found = Mapping[FileKind, Sequence[ReleaseFile]]

SNOMED_CT = "http://snomed.info/sct"
IS_A = "116680003"
STATED = "900000000000010007"  # a characteristic type; inferred and additional relationships are read
US_ENGLISH = "900000000000509007"

_DIALECT_OF = {refset: alias for alias, refset in DIALECTS.items()}
_USES = {FULLY_SPECIFIED_NAME: "Fully specified name", SYNONYM: "Synonym", DEFINITION: "Definition"}
_TAG = re.compile(r"\(([^()]+)\)\s*$")
_NUMBER = re.compile(r"#([+-]?[0-9]+(?:\.[0-9]+)?)")
_ENCODE = msgspec.json.encode
_PREFERRED, _ACCEPTABLE = 1, 2  # of a description in one reference set, two bits each


class Name(NamedTuple):
    """A description of a concept."""

    code: str
    effective_time: int
    active: bool
    module: str
    language: str
    kind: str
    term: str
    accepted: int  # bits, two for each language reference set


class Related(NamedTuple):
    """A relationship of a concept; `number` None: the value is a concept, or text."""

    attribute: str
    value: str
    role_group: int
    is_concept: bool
    number: float | None


def read_release(
    path: Path, progress: Progress = lambda *_: None, *, edition: str | None = None
) -> ReleaseDraft:
    """The draft of a release in a folder or a zip archive; the caller closes it.

    Args:
        path: the release, or a folder with an extension and what it extends.
        progress: is told what is read.
        edition: identifier of the module that names the edition; None: it is found out.

    Raises:
        UnreadableRelease: something is not as RF2 says, or missing.
    """
    with ReleaseFiles(path, progress) as files:
        found = find_files(files)
        for kind in (FileKind.DESCRIPTION, FileKind.RELATIONSHIP):
            if kind not in found:
                raise UnreadableRelease(f"{path}: no {kind.value[0]}_Snapshot file.")
        concepts = _Concepts(files, found)
        named = name_edition(files, found, concepts.modules_used(), edition)
        draft = ReleaseDraft(header_of(named), "snomed")
        try:
            _Reading(files, found, concepts, draft).read()
        except BaseException:
            draft.__exit__(None, None, None)
            raise
    return draft


def header_of(named: Edition) -> Json:
    """The CodeSystem resource of a release."""
    properties = [
        ("parent", "http://hl7.org/fhir/concept-properties#parent", "code"),
        ("child", "http://hl7.org/fhir/concept-properties#child", "code"),
        ("inactive", "http://hl7.org/fhir/concept-properties#inactive", "boolean"),
        *((name, f"http://snomed.info/field/{name}", kind) for name, kind in _PROPERTIES.items()),
    ]
    return {
        "resourceType": "CodeSystem",
        "url": SNOMED_CT,
        "version": named.version,
        "name": "SNOMED_CT",
        "title": f"SNOMED CT ({named.title})",
        "status": "active",
        "content": "complete",
        "caseSensitive": True,
        "hierarchyMeaning": "is-a",
        "compositional": True,
        "versionNeeded": False,
        "valueSet": f"{SNOMED_CT}?fhir_vs",
        "property": [{"code": code, "uri": uri, "type": kind} for code, uri, kind in properties],
    }


_PROPERTIES = {
    "sufficientlyDefined": "boolean",
    "moduleId": "code",
    "effectiveTime": "string",
    "semanticTag": "string",
}


class _Concepts:
    """The concept files, in columns."""

    def __init__(self, files: ReleaseFiles, found: Found) -> None:
        self.index: dict[str, int] = {}
        self.active, self.defined = bytearray(), bytearray()
        self.effective_time, self.module = array("I"), array("I")
        self.modules: dict[str, int] = {}
        for file, row in read_latest(files, found, FileKind.CONCEPT, int):
            code, time, active, module, status = row.values[:5]
            wrong = why_invalid(code)
            if wrong is not None or code in self.index:
                raise fault(
                    file.label, row.line, f"the concept '{code[:30]}': {wrong or 'it is there twice'}"
                )
            if status not in (DEFINED, PRIMITIVE):
                raise fault(file.label, row.line, f"'{status[:30]}' is no definition status")
            self.index[code] = len(self.index)
            self.active.append(active == "1")
            self.defined.append(status == DEFINED)
            self.effective_time.append(int(time[:8] or 0))
            self.module.append(self.modules.setdefault(module, len(self.modules)))
        self.module_codes = list(self.modules)

    def modules_used(self) -> Mapping[str, int]:
        """How many concepts each module has."""
        counts = [0] * len(self.modules)
        for at in self.module:
            counts[at] += 1
        return dict(zip(self.module_codes, counts, strict=True))


class _Reading:
    """One release, being read."""

    def __init__(self, files: ReleaseFiles, found: Found, concepts: _Concepts, draft: ReleaseDraft) -> None:
        self.files, self.found, self.concepts, self.draft = files, found, concepts, draft
        self.languages: list[str] = []  # language reference sets, in the order of their bits
        self.accepted: dict[int, int] = {}  # by description
        self._known_held: dict[int, Mapping[str, str]] = {}  # what the bits say: few are different

    def read(self) -> None:
        """All files; concepts are said with all that belongs to them."""
        with Spool() as names, Spool() as related:
            self._read_languages()
            for kind in (FileKind.DESCRIPTION, FileKind.TEXT_DEFINITION):
                self._read_names(kind, names)
            self.accepted.clear()
            for kind in (FileKind.RELATIONSHIP, FileKind.CONCRETE_VALUE):
                self._read_related(kind, related)
            self._say_concepts(names, related)
        self._read_members()

    def _rows(self, kind: FileKind) -> Iterator[tuple[ReleaseFile, Row]]:
        key = bytes.fromhex if kind in _BY_UUID else int
        try:
            yield from read_latest(self.files, self.found, kind, lambda text: key(text.replace("-", "")))
        except ValueError:
            raise UnreadableRelease(f"{self.found[kind][0].label}: an 'id' is no identifier.") from None

    def _concept(self, file: ReleaseFile, row: Row, code: str) -> int:
        found = self.concepts.index.get(code)
        if found is None:
            raise fault(file.label, row.line, f"there is no concept '{code[:30]}' in this release")
        return found

    def _read_languages(self) -> None:
        bits: dict[str, int] = {}
        for file, row in self._rows(FileKind.LANGUAGE):
            if row.values[2] == "0":
                continue
            refset, description, acceptability = row.values[4:7]
            how = {PREFERRED: _PREFERRED, ACCEPTABLE: _ACCEPTABLE}.get(acceptability)
            if how is None or not description.isdigit():
                raise fault(
                    file.label, row.line, f"'{acceptability[:30]}' is no acceptability of a description"
                )
            if refset not in bits:
                bits[refset] = 2 * len(bits)
                self._concept(file, row, refset)
            key = int(description)
            self.accepted[key] = self.accepted.get(key, 0) | how << bits[refset]
        self.languages = list(bits)

    def _read_names(self, kind: FileKind, names: Spool) -> None:
        for file, row in self._rows(kind):
            code, time, active, module, concept, language, kind_of, term = row.values[:8]
            owner = self._concept(file, row, concept)
            if not has_form(code) or kind_of not in _USES:
                raise fault(file.label, row.line, f"'{code[:30]}' of type '{kind_of[:30]}' is no description")
            if not term or "\0" in term:
                raise fault(file.label, row.line, "the term is empty, or cannot be kept")
            accepted = self.accepted.get(int(code), 0)
            names.add(
                owner,
                (owner, code, int(time[:8] or 0), active == "1", module, language, kind_of, term, accepted),
            )

    def _read_related(self, kind: FileKind, related: Spool) -> None:
        for file, row in self._rows(kind):
            values = row.values
            source, value, group, attribute, characteristic = (
                values[4],
                values[5],
                values[6],
                values[7],
                values[8],
            )
            if values[2] == "0" or characteristic == STATED:
                continue
            owner = self._concept(file, row, source)
            self._concept(file, row, attribute)
            if not group.isdigit():
                raise fault(file.label, row.line, f"'{group[:20]}' is no relationship group")
            number: float | None = None
            if kind is FileKind.RELATIONSHIP:
                self._concept(file, row, value)
            else:
                value, number = _concrete(file, row, value)
            related.add(owner, (owner, attribute, value, int(group), kind is FileKind.RELATIONSHIP, number))

    def _say_concepts(self, names: Spool, related: Spool) -> None:
        all_names = _Merged(names)
        all_related = _Merged(related)
        codes = self.concepts.index
        self.files.progress("concepts", 0, len(codes))
        for owner, code in enumerate(codes):
            own_names = [Name(*each[1:]) for each in all_names.of(owner)]
            own_related = [Related(*each[1:]) for each in all_related.of(owner)]
            self._say_concept(owner, code, own_names, own_related)
            if owner % 10_000 == 0:
                self.files.progress("concepts", owner, len(codes))

    def _say_concept(self, owner: int, code: str, names: list[Name], related: list[Related]) -> None:
        state = self.concepts
        is_active, is_defined = bool(state.active[owner]), bool(state.defined[owner])
        module, time = state.module_codes[state.module[owner]], state.effective_time[owner]
        names.sort(key=self._rank)
        tag = _semantic_tag(names)
        parents = [each.value for each in related if each.attribute == IS_A] if is_active else []
        attributes = [each for each in related if each.attribute != IS_A] if is_active else []
        entry = {
            "code": code,
            "display": next((each.term for each in names if each.kind != DEFINITION), None),
            "definition": next(
                (each.term for each in names if each.active and each.kind == DEFINITION), None
            ),
            "designation": list(self._designations(names)),
            "property": [
                {"code": "inactive", "valueBoolean": not is_active},
                {"code": "sufficientlyDefined", "valueBoolean": is_defined},
                {"code": "moduleId", "valueCode": module},
                {"code": "effectiveTime", "valueString": str(time or "")},
                *({"code": "semanticTag", "valueString": each} for each in tag),
                *_as_properties(attributes),
            ],
        }
        self.draft.add_concept(
            {name: value for name, value in entry.items() if value is not None},
            parents=parents,
            active=is_active,
            values=[("semanticTag", each) for each in tag],
        )
        state_row = {"defined": is_defined, "module": module, "effective_time": time}
        self.draft.add_row(TerminologyConceptState, number=code, **state_row)
        self._say_rows(code, names, attributes)

    def _say_rows(self, code: str, names: list[Name], attributes: list[Related]) -> None:
        for n, name in enumerate(names):
            self.draft.add_row(
                TerminologyDescription,
                concept=code,
                n=n,
                code=name.code,
                active=name.active,
                kind=name.kind,
                module=name.module,
                effective_time=name.effective_time,
                language=name.language,
                dialects=list(self._held(name).items()),
                words="".join(f" {word}" for word in words_of(name.term)),
                term=name.term.casefold(),
            )
        for each in dict.fromkeys(attributes):
            row = {"source": code, "role_group": each.role_group, "attribute": each.attribute}
            if each.is_concept:
                self.draft.add_row(TerminologyRelation, **row, target=each.value)
            else:
                self.draft.add_row(TerminologyConcreteValue, **row, value=each.value, number=each.number)

    def _held(self, name: Name) -> Mapping[str, str]:
        """The language reference sets that have a description, and how: "p" preferred, "a" acceptable."""
        found = self._known_held.get(name.accepted)
        if found is None:
            bits = [(refset, name.accepted >> 2 * at & 3) for at, refset in enumerate(self.languages)]
            found = {refset: "p" if how & _PREFERRED else "a" for refset, how in bits if how}
            self._known_held[name.accepted] = found
        return found

    def _rank(self, name: Name) -> tuple[bool, int, bool, bool, str]:
        """What is shown first: active; a preferred synonym, American before others; then any name."""
        held = self._held(name)
        kind = {SYNONYM: 0, FULLY_SPECIFIED_NAME: 1}.get(name.kind, 2)
        return (
            not name.active,
            kind,
            held.get(US_ENGLISH) != "p",
            "p" not in held.values(),
            name.code,
        )

    def _designations(self, names: list[Name]) -> Iterator[Json]:
        for name in names:
            if name.kind == DEFINITION:
                continue
            use, display = (name.kind, _USES[name.kind]) if name.active else (NO_LONGER_USED, "Inactive")
            coding = {"system": SNOMED_CT, "code": use, "display": display}
            yield {"language": name.language, "use": coding, "value": name.term}
            if name.active and name.kind == SYNONYM:
                for refset, how in self._held(name).items():
                    tag = _DIALECT_OF.get(refset)
                    if how == "p" and tag is not None:
                        yield {"language": _bcp_47(tag), "use": PREFERRED_FOR_LANGUAGE, "value": name.term}

    def _read_members(self) -> None:
        counted: dict[tuple[str, str], int] = {}
        for file, row in self._rows(FileKind.MEMBERS):
            _, time, active, module, refset, concept = row.values[:6]
            if active == "0" or concept[-2:-1] != "0":  # descriptions and relationships can be members too
                continue
            self._concept(file, row, refset)
            self._concept(file, row, concept)
            n = counted.get((refset, concept), 0)
            counted[refset, concept] = n + 1
            fields = dict(row.more)
            target = fields.pop("targetComponentId", None)
            self.draft.add_row(
                TerminologyMember,
                refset=refset,
                concept=concept,
                n=n,
                target=target if target in self.concepts.index else None,
                module=module,
                effective_time=int(time[:8] or 0),
                fields=_ENCODE(fields).decode() if fields else "{}",
            )


_BY_UUID = frozenset({FileKind.LANGUAGE, FileKind.MEMBERS, FileKind.MODULE_DEPENDENCY})


class _Merged:
    """Rows of a spool, taken owner by owner."""

    def __init__(self, spool: Spool) -> None:
        self._rows = spool.ordered(lambda owner: owner)
        self._next = next(self._rows, None)

    def of(self, owner: int) -> Sequence[Any]:
        """The rows of an owner, who comes after those before."""
        if self._next is None or self._next[0][0] != owner:
            return ()
        found, self._next = self._next, next(self._rows, None)
        return found


def _semantic_tag(names: Sequence[Name]) -> Sequence[str]:
    """What stands between brackets at the end of the fully specified name; it may have none."""
    full = next((each.term for each in names if each.active and each.kind == FULLY_SPECIFIED_NAME), "")
    found = _TAG.search(full)
    return () if found is None else (found[1],)


def _concrete(file: ReleaseFile, row: Row, text: str) -> tuple[str, float | None]:
    """A concrete value without its mark: `#5`, `"text"`, or true and false."""
    if number := _NUMBER.fullmatch(text):
        return number[1], float(number[1])
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return text[1:-1], None
    if text in ("true", "false"):
        return text, None
    raise fault(file.label, row.line, f"'{text[:30]}' is no concrete value")


def _as_properties(attributes: Sequence[Related]) -> Iterator[Json]:
    for attribute, value, is_concept, number in dict.fromkeys(
        (each.attribute, each.value, each.is_concept, each.number) for each in attributes
    ):
        if is_concept:
            yield {"code": attribute, "valueCode": value}
        elif number is not None:
            yield {"code": attribute, "valueDecimal": number}
        elif value in ("true", "false"):
            yield {"code": attribute, "valueBoolean": value == "true"}
        else:
            yield {"code": attribute, "valueString": value}


def _bcp_47(alias: str) -> str:
    """`en-us` as `en-US`; what is private stays in lower case."""
    language, dash, rest = alias.partition("-")
    return f"{language}-{rest.upper()}" if dash and "-" not in rest else alias
