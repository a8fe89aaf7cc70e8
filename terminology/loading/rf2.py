"""A SNOMED CT release in Release Format 2 becomes a draft (Release File Specifications §4 and §5).

Read by line: concepts; language reference sets; descriptions; relationships that are inferred; concrete
values; simple, association and map reference sets. Inactive concepts stay, as inactive ones. Of other
components inactive descriptions stay alone, as names that are no longer used.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from terminology.loading.files import Progress, ReleaseFiles, UnreadableRelease
from terminology.loading.rf2_concepts import Concepts
from terminology.loading.rf2_edition import Edition, name_edition
from terminology.loading.rf2_files import FileKind, find_files
from terminology.loading.rf2_members import tell_members
from terminology.loading.rf2_names import (
    SNOMED_CT,
    Name,
    Names,
    definition_of,
    display_of,
    semantic_tag,
)
from terminology.loading.rf2_related import IS_A, Related, add_rows, as_properties, read_related
from terminology.releases.draft import ReleaseDraft
from terminology.releases.spool import Spool
from terminology.tables import TerminologyConceptState, TerminologyDescription

Json = Any

_PROPERTIES = {
    "sufficientlyDefined": "boolean",
    "moduleId": "code",
    "effectiveTime": "string",
    "semanticTag": "string",
}
_TELL_CONCEPTS = 10_000


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
        concepts = Concepts(files, found)
        named = name_edition(files, found, concepts.module_sizes(), edition)
        draft = ReleaseDraft(header_of(named), "snomed")
        try:
            _tell_concepts(concepts, draft)
            tell_members(concepts, draft)
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


def _tell_concepts(concepts: Concepts, draft: ReleaseDraft) -> None:
    """Each concept, with all that belongs to it."""
    for code in concepts.index:
        draft.index_of(code)  # from now on they are called in the draft by their places
    telling = _Telling(concepts, draft)
    with Spool() as spooled_names, Spool() as spooled_related:
        telling.names.read(spooled_names)
        read_related(concepts, spooled_related)
        all_names, all_related = _Merged(spooled_names), _Merged(spooled_related)
        for place in range(len(concepts.index)):
            own = [Name(*each) for each in sorted(all_names.of(place))]
            telling.tell(place, own, [Related(*each) for each in all_related.of(place)])
            if place % _TELL_CONCEPTS == 0:
                concepts.files.progress("concepts", place, len(concepts.index))


class _Telling:
    """Tells a draft of one concept after the other."""

    def __init__(self, concepts: Concepts, draft: ReleaseDraft) -> None:
        self._concepts, self._draft = concepts, draft
        self.names = Names(concepts, draft)
        self._codes = list(concepts.index)
        self._is_a = concepts.index.get(IS_A)
        self._modules = [draft.index_of(code) for code in concepts.modules]

    def tell(self, place: int, own: Sequence[Name], related: Sequence[Related]) -> None:
        """A concept, with its names by rank and its relationships."""
        concepts, draft, is_a = self._concepts, self._draft, self._is_a
        is_active, is_defined = bool(concepts.active[place]), bool(concepts.defined[place])
        module, time = concepts.module[place], concepts.effective_time[place]
        told = related if is_active else ()
        attributes = [each for each in told if each.attribute != is_a]
        tag = semantic_tag(own)
        entry = {
            "code": self._codes[place],
            "display": display_of(own),
            "definition": definition_of(own),
            "designation": list(self.names.designations(own)),
            "property": [
                {"code": "inactive", "valueBoolean": not is_active},
                {"code": "sufficientlyDefined", "valueBoolean": is_defined},
                {"code": "moduleId", "valueCode": concepts.modules[module]},
                {"code": "effectiveTime", "valueString": str(time or "")},
                *({"code": "semanticTag", "valueString": each} for each in tag),
                *as_properties(self._codes, attributes),
            ],
        }
        draft.add_concept(
            {name: value for name, value in entry.items() if value is not None},
            parents=[self._codes[each.value] for each in told if each.attribute == is_a],  # type: ignore[index]
            active=is_active,
            values=[("semanticTag", each) for each in tag],
        )
        state = (0, place, is_defined, self._modules[module], time)
        draft.add_rows(TerminologyConceptState, place, [state])
        names = [self.names.row(place, n, name) for n, name in enumerate(own)]
        draft.add_rows(TerminologyDescription, place, names)
        add_rows(draft, place, attributes)


class _Merged:
    """Rows of a spool, taken owner by owner."""

    def __init__(self, spool: Spool) -> None:
        self._rows = spool.ordered()
        self._next = next(self._rows, None)

    def of(self, owner: int) -> Sequence[Any]:
        """The rows of an owner, who comes after those before."""
        if self._next is None or self._next[0] != owner:
            return ()
        (_, found), self._next = self._next, next(self._rows, None)
        return found
