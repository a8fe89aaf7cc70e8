"""$subsumes: how two codes of a code system relate (FHIR R4 codesystem-operation-subsumes.html)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from terminology.code_system import CodeSystem
from terminology.coded import Coded, coded_of, require_same_system
from terminology.context import Context, Inputs
from terminology.inputs import text_of
from terminology.issues import InvalidInput
from terminology.library import Library
from terminology.located import open_code_system, require_concept

Json = Any

# What a hierarchy means where it does not mean that what is below is a kind of what is above.
NOT_SUBSUMING = frozenset({"grouped-by", "part-of"})


class Outcome(StrEnum):
    """The relation of A to B (ConceptSubsumptionOutcome)."""

    EQUIVALENT = "equivalent"
    SUBSUMES = "subsumes"
    SUBSUMED_BY = "subsumed-by"
    NOT_SUBSUMED = "not-subsumed"


async def subsumes(inputs: Inputs, library: Library, _context: Context) -> Json:
    """The Parameters that say how A relates to B.

    Raises:
        InvalidInput: two codes of one code system are not what is given.
        NotKnown: the code system or one of the codes.
    """
    a, b = _given(inputs, "A"), _given(inputs, "B")
    require_same_system(a, b)
    system = await open_code_system(library, inputs, Coded(a.system, a.code, a.version or b.version))
    codes = [(await require_concept(system, each, name)).code for each, name in ((a, "codeA"), (b, "codeB"))]
    outcome = await relate(system, *codes)
    return {"resourceType": "Parameters", "parameter": [{"name": "outcome", "valueCode": outcome.value}]}


async def relate(system: CodeSystem, a: str, b: str) -> Outcome:
    """How two codes relate, as the code system writes them."""
    if a == b:
        return Outcome.EQUIVALENT
    if system.header.hierarchy_meaning in NOT_SUBSUMING:
        return Outcome.NOT_SUBSUMED
    if await system.subsumes(a, b):
        return Outcome.SUBSUMES
    return Outcome.SUBSUMED_BY if await system.subsumes(b, a) else Outcome.NOT_SUBSUMED


def _given(inputs: Inputs, letter: str) -> Coded:
    """`codingA`, or `codeA` with `system` and `version`."""
    names: Mapping[str, str] = {"coding": f"coding{letter}", "code": f"code{letter}"}
    found = coded_of(inputs, names)
    if found is None:
        raise InvalidInput(f"'code{letter}' with 'system', or 'coding{letter}' is needed.")
    return Coded(found.system, found.code, found.version or text_of(inputs, "version"))
