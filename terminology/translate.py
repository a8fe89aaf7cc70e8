"""$translate: what a code is in another code system (FHIR R4 conceptmap-operation-translate.html).

The parameters of FHIR R5 are taken as well; who uses them is answered with R5's `relationship` and
`originMap` beside R4's `equivalence`. A mapping that depends on other elements holds only where the request
gives their values.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from terminology.canonical import Canonical, parse_canonical
from terminology.coded import Coded, coded_by, coded_of
from terminology.concept_map import DISJOINT, EQUIVALENCES, UNMATCHED, ConceptMap, Related, parse_concept_map
from terminology.context import Context, Inputs
from terminology.inputs import element_of, flag_of, text_of
from terminology.issues import InvalidInput, NotKnown, TooCostly
from terminology.library import Kind, Library
from terminology.translation import MAX_MATCHES, Asked, Match, Translation, coding_of, is_in_scope

Json = Any

MAX_MAPS = 1_000  # that are looked through where none is named
MAX_CODINGS = 100  # of one CodeableConcept
MAX_ADVICE = 20  # mappings whose conditions are told

_R4: Mapping[str, str] = {}
_SOURCE: Mapping[str, str] = {
    "code": "sourceCode",
    "system": "sourceSystem",
    "version": "sourceVersion",
    "coding": "sourceCoding",
    "codeableConcept": "sourceCodeableConcept",
}
_TARGET: Mapping[str, str] = {name: r5.replace("source", "target") for name, r5 in _SOURCE.items()}
_R5_NAMES = frozenset({*_SOURCE.values(), *_TARGET.values(), "sourceScope", "targetScope"}) - {"targetSystem"}


async def translate(inputs: Inputs, library: Library, _context: Context) -> Json:
    """The Parameters that say what the code is.

    Raises:
        InvalidInput: no code is given, or more than one.
        NotKnown: the map that is named.
        TooCostly: there are too many maps to look through.
    """
    asked = read_asked(inputs)

    async def named(canonical: Canonical) -> ConceptMap:
        edition = await library.find(Kind.CONCEPT_MAP, canonical)
        if edition is None:
            raise NotKnown(f"The concept map '{canonical}' is not known here.", expression="url")
        return parse_concept_map(await edition.open())

    translation = Translation(asked, named)
    if (given := element_of(inputs, "conceptMap")) is not None:
        await translation.add(parse_concept_map(given))
    elif (url := text_of(inputs, "url")) is not None:
        canonical = parse_canonical(url)
        version = canonical.version or text_of(inputs, "conceptMapVersion")
        await translation.add(await named(Canonical(canonical.url, version)))
    else:
        for concept_map in await _maps_in_scope(asked, library):
            await translation.add(concept_map)
    return _answer(translation)


async def _maps_in_scope(asked: Asked, library: Library) -> Sequence[ConceptMap]:
    editions = await library.listing(Kind.CONCEPT_MAP)
    newest = {each.url: each for each in reversed(editions)}
    if len(newest) > MAX_MAPS:
        raise TooCostly(f"There are more than {MAX_MAPS} concept maps: name one by 'url'.")
    found = [parse_concept_map(await each.open()) for each in reversed(newest.values())]
    return [each for each in found if is_in_scope(asked, each)]


def read_asked(inputs: Inputs) -> Asked:
    """The input of an invocation.

    Raises:
        InvalidInput: it makes no sense.
    """
    is_r5 = not _R5_NAMES.isdisjoint(inputs)
    sources = _codes(inputs, _SOURCE if is_r5 else _R4)
    targets = _codes(inputs, _TARGET) if is_r5 else ()
    if bool(sources) == bool(targets):
        raise InvalidInput("One code is needed: 'code' with 'system', 'coding' or 'codeableConcept'.")
    reverse = bool(targets) or bool(flag_of(inputs, "reverse"))
    wanted = ("sourceSystem",) if targets else ("targetsystem", "targetSystem")
    return Asked(
        codes=sources or targets,
        reverse=reverse,
        is_r5=is_r5,
        source_scope=_scope(inputs, "source", "sourceScope"),
        target_scope=_scope(inputs, "target", "targetScope"),
        wanted_system=text_of(inputs, *wanted),
        given=tuple(_dependencies(inputs)),
    )


def _scope(inputs: Inputs, *names: str) -> str | None:
    """The URL of a value set; versions do not count."""
    scope = text_of(inputs, *names)
    return None if scope is None else parse_canonical(scope).url


def _codes(inputs: Inputs, names: Mapping[str, str]) -> Sequence[Coded]:
    whole = names.get("codeableConcept", "codeableConcept")
    concept = element_of(inputs, whole)
    is_single = any(names.get(each, each) in inputs for each in ("code", "coding"))
    if concept is None:
        coded = coded_of(inputs, names) if is_single else None
        return () if coded is None else (coded,)
    codings = concept.get("coding", ())
    if is_single or not isinstance(codings, list) or not 0 < len(codings) <= MAX_CODINGS:
        text = f"'{whole}' has from 1 to {MAX_CODINGS} codings, and stands for 'code' and 'coding'."
        raise InvalidInput(text, expression=f"{whole}.coding")
    return [coded_by(each, whole) for each in codings]


def _dependencies(inputs: Inputs) -> Iterator[Related]:
    """`dependency`: the values of other elements, in its parts `element` and `concept` (or R5's)."""
    for dependency in inputs.get("dependency", ()):
        values = {str(part.get("name")): _value(part) for part in _objects(dependency, "part")}
        element = values.get("element") or values.get("attribute")
        value = values.get("concept") or values.get("value")
        if not isinstance(element, str) or value is None:
            raise InvalidInput("The parameter 'dependency' has the parts 'element' and 'concept'.")
        codings = _objects(value, "coding") or [value if isinstance(value, dict) else {"code": value}]
        for each in codings:
            system = each.get("system")
            yield Related(element, str(each.get("code", "")), system if isinstance(system, str) else None)


def _objects(value: Json, name: str) -> Sequence[Json]:
    """The objects of an array; what is none has none."""
    entries = value.get(name) if isinstance(value, dict) else None
    return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else ()


def _value(part: Json) -> Json:
    return next((value for name, value in part.items() if name.startswith("value")), None)


def _answer(translation: Translation) -> Json:
    matches = translation.matches
    result = any(each.equivalence not in (UNMATCHED, DISJOINT) for each in matches)
    parameters: list[Json] = [{"name": "result", "valueBoolean": result}]
    if message := _message(translation, result=result):
        parameters.append({"name": "message", "valueString": message})
    told = _match_r5 if translation.asked.is_r5 else _match_r4
    parameters += [{"name": "match", "part": list(told(each))} for each in matches[:MAX_MATCHES]]
    return {"resourceType": "Parameters", "parameter": parameters}


def _message(translation: Translation, *, result: bool) -> str | None:
    if len(translation.matches) > MAX_MATCHES:
        return f"Only the first {MAX_MATCHES} matches are here."
    if result:
        return _advice(translation)
    if translation.depending:
        return "There are mappings that depend on other elements, whose values were not given."
    return "No mapping was found."


def _advice(translation: Translation) -> str | None:
    """What is said beside the mappings, for whoever chooses among them."""
    told = list(dict.fromkeys(each.advice for each in translation.matches if each.advice))
    more = f" (and {len(told) - MAX_ADVICE} more)" if len(told) > MAX_ADVICE else ""
    return "; ".join(told[:MAX_ADVICE]) + more if told else None


def _match_r4(match: Match) -> Iterator[Json]:
    yield {"name": "equivalence", "valueCode": match.equivalence}
    if match.concept is not None:
        yield {"name": "concept", "valueCoding": match.concept}
    for each in match.products:
        concept = coding_of(Canonical(each.system) if each.system else None, each.value, each.display)
        element = {"name": "element", "valueUri": each.element}
        yield {"name": "product", "part": [element, {"name": "concept", "valueCoding": concept}]}
    if match.origin.url:
        yield {"name": "source", "valueUri": str(match.origin)}


def _match_r5(match: Match) -> Iterator[Json]:
    yield from (each for each in _match_r4(match) if each["name"] != "source")
    if relationship := EQUIVALENCES[match.equivalence][1]:
        yield {"name": "relationship", "valueCode": relationship}
    if match.source is not None:
        yield {"name": "source", "valueCoding": match.source}
    if match.origin.url:
        yield {"name": "originMap", "valueCanonical": str(match.origin)}
