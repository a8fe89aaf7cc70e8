"""From what a request names to the code system and the concept that are meant (FHIR R4 codesystem.html)."""

from terminology.canonical import Canonical
from terminology.code_system import CodeSystem
from terminology.coded import Coded
from terminology.concept import Concept
from terminology.context import Inputs
from terminology.issues import NotKnown
from terminology.library import Library
from terminology.versions import choose, code_systems, read_version_rules, unknown_code_system

_CONSEQUENCE = "so the code cannot be looked up"


async def open_code_system(library: Library, inputs: Inputs, coded: Coded) -> CodeSystem:
    """The version of a code system that is meant.

    Raises:
        NotKnown: it is not known here.
    """
    rules = read_version_rules(inputs)
    editions = await code_systems(library, coded.system)
    wanted = rules.wanted(coded.system, coded.version)
    edition = choose(editions, wanted)
    if edition is None:
        issue = unknown_code_system(editions, Canonical(coded.system, wanted), _CONSEQUENCE)
        raise NotKnown.of(issue)
    if (objection := rules.objection(edition)) is not None:
        raise NotKnown.of(objection)
    system: CodeSystem = await edition.open()
    return system


async def require_concept(system: CodeSystem, coded: Coded, name: str = "code") -> Concept:
    """The concept of a code; `name` is that of the parameter.

    Raises:
        NotKnown: the code system has no such code.
    """
    concept = await system.locate(coded.code)
    if concept is None:
        raise NotKnown(
            f"The code '{coded.code}' is not known in the code system '{system.header.canonical}'.",
            expression=name,
        )
    return concept
