"""What code systems call the concepts of a document (FHIR R4 datatypes.html#Coding, `display`).

A Code Meaning is what the writer of the document chose, in any language. FHIR's `display` follows the rules
of the code system: where the meaning is none of the concept's names there, the name that it has there stands
for it; the meaning stays as the text.
"""

from collections.abc import Iterator, Mapping, Sequence

from dicomweb.attributes import DicomJson
from fhir.model import systems
from server.workflows.report.content import Concept, Key, concept_of
from terminology.code_system import CodeSystem
from terminology.issues import TerminologyFault
from terminology.library import Library
from terminology.listed import terms_of
from terminology.text import words_of
from terminology.versions import choose, code_systems

MAX_CONCEPTS = 2_000  # of one document that are looked up

Names = Mapping[Key, str]


async def names_of(document: DicomJson, terms: Library) -> Names:
    """The names of those concepts that the document calls otherwise."""
    meanings: dict[Key, str] = {}
    for found in _concepts(document):
        if len(meanings) < MAX_CONCEPTS:
            meanings.setdefault(found.key, found.meaning)
    names: dict[Key, str] = {}
    for scheme in {scheme for _, scheme in meanings}:
        system = await _system_of(scheme, terms)
        if system is not None:
            names |= await _named(system, {key: said for key, said in meanings.items() if key[1] == scheme})
    return names


async def _system_of(scheme: str, terms: Library) -> CodeSystem | None:
    url = systems.OF_SCHEME.get(scheme)
    edition = None if url is None else choose(await code_systems(terms, url), None)
    return None if edition is None else await edition.open()


async def _named(system: CodeSystem, meanings: Mapping[Key, str]) -> Names:
    try:
        known = await system.locate_all([code for code, _ in meanings])
    except TerminologyFault:
        return {}
    names = {}
    for key, meaning in meanings.items():
        concept = known.get(key[0])
        if concept is None or concept.display is None:
            continue
        if words_of(meaning) not in map(words_of, terms_of(concept)):
            names[key] = concept.display
    return names


def _concepts(document: DicomJson) -> Iterator[Concept]:
    """Every coded concept of a document, with those that are said to be equivalent."""
    waiting: list[DicomJson] = [document]
    while waiting:
        data_set = waiting.pop()
        if (found := concept_of(data_set)) is not None:
            yield found
        for item in data_set.values():
            if item.get("vr") == "SQ":
                values: Sequence[DicomJson] = item.get("Value", ())
                waiting += values
