"""$lookup: what a code system says of a code (FHIR R4 codesystem-operation-lookup.html).

Beside the output of R4 stand `code`, `system`, `definition` and `abstract`, as FHIR R5 has them. Without
`property` all that is known is told; where properties are named, those, and `*` is all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from terminology.canonical import Canonical, parse_canonical
from terminology.code_system import CodeSystem, Header
from terminology.coded import Coded, coded_of
from terminology.concept import Concept, Designation, Property
from terminology.context import Context, Inputs
from terminology.inputs import text_of, texts_of
from terminology.issues import InvalidInput
from terminology.language import Languages, choose_name, languages_wanted, main_name
from terminology.library import Library
from terminology.listed import CONCEPT_PROPERTIES
from terminology.located import open_code_system, require_concept
from terminology.releases.system import ReleasedCodeSystem
from terminology.supplements import apply_supplements, is_about, open_supplements

Json = Any

Sources = Sequence[tuple[Designation, Canonical]]  # names, and the supplements that they are from
MAX_RELATIVES = 1_000  # codes right above, and right below, that are told of one


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for; `properties` empty: all."""

    coded: Coded
    properties: frozenset[str]
    languages: Languages | None

    def wants(self, name: str) -> bool:
        """Whether a property is asked for."""
        return not self.properties or name in self.properties or "*" in self.properties

    def wants_language(self, language: str | None) -> bool:
        """Whether names in a language are asked for (`lang.de`)."""
        return self.wants("designation") or f"lang.{language}" in self.properties


async def lookup(inputs: Inputs, library: Library, context: Context) -> Json:
    """The Parameters that tell of a code.

    Raises:
        InvalidInput: no code of a code system is given.
        NotKnown: the code system, the code or a supplement.
    """
    asked = read_asked(inputs, context)
    system = await open_code_system(library, inputs, asked.coded)
    supplements = await _supplements(inputs, library, system.header)
    if supplements:
        system = apply_supplements(system, supplements)
    concept = await require_concept(system, asked.coded)
    sources = [
        (name, each.header.canonical)
        for each in supplements
        if (more := await each.locate(concept.code)) is not None
        for name in more.designations
    ]
    parameters = [
        *_of_the_code(asked, system.header, concept),
        *_designations(asked, system.header, concept, sources),
        *await _properties(asked, system, concept),
        *(_parameter("used-supplement", "Canonical", str(each.header.canonical)) for each in supplements),
    ]
    return {"resourceType": "Parameters", "parameter": parameters}


async def _supplements(inputs: Inputs, library: Library, header: Header) -> Sequence[CodeSystem]:
    """The supplements of this code system that are asked for (`useSupplement`, of FHIR R5)."""
    wanted = texts_of(inputs, "useSupplement")
    if not wanted:
        return ()
    found = await open_supplements(library, map(parse_canonical, wanted))
    return [each for each in found if is_about(each.header, header)]


def read_asked(inputs: Inputs, context: Context) -> Asked:
    """The input of an invocation.

    Raises:
        InvalidInput, InvalidLanguage: it makes no sense.
    """
    coded = coded_of(inputs)
    if coded is None:
        raise InvalidInput("A code is needed: 'code' with 'system', or 'coding'.")
    languages = languages_wanted(text_of(inputs, "displayLanguage"), None, context.accept_language)
    return Asked(coded, frozenset(texts_of(inputs, "property")), languages)


def _of_the_code(asked: Asked, header: Header, concept: Concept) -> Iterator[Json]:
    yield _parameter("code", "Code", concept.code)
    yield _parameter("system", "Uri", header.url)
    yield _parameter("name", "String", header.name or header.title or header.url)
    if header.version is not None:
        yield _parameter("version", "String", header.version)
    yield _parameter("display", "String", shown_name(asked, header, concept))
    if concept.definition is not None and asked.wants("definition"):
        yield _parameter("definition", "String", concept.definition)
    yield _parameter("abstract", "Boolean", concept.abstract)


def shown_name(asked: Asked, header: Header, concept: Concept) -> str:
    """The display in the language that is wanted; a code without name is its own."""
    main = main_name(concept, header.language)
    chosen = choose_name(main, concept.designations, asked.languages) or main
    return concept.code if chosen is None else chosen.value


def _designations(asked: Asked, header: Header, concept: Concept, sources: Sources) -> Iterator[Json]:
    own = main_name(concept, header.language)
    names = concept.designations if own is None or own.language is None else (own, *concept.designations)
    for each in names:
        if asked.wants_language(each.language):
            yield _designation(each, next((source for name, source in sources if name == each), None))


def _designation(name: Designation, source: Canonical | None) -> Json:
    part = [] if source is None else [_parameter("source", "Canonical", str(source))]
    if name.language is not None:
        part.append(_parameter("language", "Code", name.language))
    if name.use is not None:
        part.append(_parameter("use", "Coding", name.use))
    return {"name": "designation", "part": [*part, _parameter("value", "String", name.value)]}


async def _properties(asked: Asked, system: CodeSystem, concept: Concept) -> Sequence[Json]:
    """R4's own properties parent, child and inactive, and those of the code system."""
    told = [each for each in concept.properties if each.code not in ("parent", "child", "inactive")]
    properties = [each for each in told if asked.wants(each.code)]
    if asked.wants("inactive"):
        properties.append(Property("inactive", "boolean", concept.inactive))
    if "definition" in asked.properties and concept.definition is not None:
        properties.append(Property("definition", "string", concept.definition))
    for name, related in (("parent", system.parents), ("child", system.children)):
        if asked.wants(name):
            properties += [
                Property(name, "code", code) for code in (await related(concept.code))[:MAX_RELATIVES]
            ]
    names = await _names_of_values(asked, system, properties)
    return [_property(each, names.get(each.value) if each.kind == "code" else None) for each in properties]


async def _names_of_values(
    asked: Asked, system: CodeSystem, properties: Sequence[Property]
) -> Mapping[str, str]:
    """The displays of codes of the same code system that are values, by code."""
    codes = [each.value for each in properties if each.kind == "code" and _is_of_system(system.header, each)]
    if not codes:
        return {}
    codes = list(dict.fromkeys(codes))
    if asked.languages is None and isinstance(system, ReleasedCodeSystem):
        return await system.displays(codes)
    found = await system.locate_all(codes)
    return {code: shown_name(asked, system.header, each) for code, each in found.items() if each.display}


def _is_of_system(header: Header, each: Property) -> bool:
    """Whether the value may be a code of the code system itself: FHIR's own codes (status …) are not."""
    if each.code in ("parent", "child"):
        return True
    defined = header.properties.get(each.code)
    return defined is None or not (defined.uri or "").startswith(CONCEPT_PROPERTIES)


def _property(each: Property, description: str | None) -> Json:
    part = [_parameter("code", "Code", each.code), _parameter("value", each.kind, each.value)]
    if description is not None:
        part.append(_parameter("description", "String", description))
    return {"name": "property", "part": part}


def _parameter(name: str, kind: str, value: Json) -> Json:
    return {"name": name, f"value{kind[0].upper()}{kind[1:]}": value}
