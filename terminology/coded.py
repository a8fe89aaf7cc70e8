"""A code of a code system as an operation is given it: `code` and `system`, or a Coding.

FHIR R4 codesystem-operation-lookup.html, -subsumes.html, conceptmap-operation-translate.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from terminology.context import Inputs
from terminology.inputs import element_of, text_of
from terminology.issues import InvalidInput

Json = Any

_NAMES: Mapping[str, str] = {"coding": "coding", "code": "code", "system": "system", "version": "version"}


@dataclass(frozen=True, slots=True)
class Coded:
    """A code of a code system; `version` None: none is stated."""

    system: str
    code: str
    version: str | None = None


def coded_of(inputs: Inputs, names: Mapping[str, str] | None = None) -> Coded | None:
    """The code that is given; `names`: what its parameters are called where not as in `$lookup`.

    Raises:
        InvalidInput: it is there twice, or without its system.
    """
    called = {**_NAMES, **(names or {})}
    coding, code = element_of(inputs, called["coding"]), text_of(inputs, called["code"])
    if coding is not None and code is not None:
        raise InvalidInput(f"'{called['code']}' and '{called['coding']}' are not given together.")
    if coding is not None:
        return coded_by(coding, called["coding"])
    if code is None:
        return None
    system = text_of(inputs, called["system"])
    if system is None:
        raise InvalidInput(f"'{called['code']}' needs '{called['system']}'.", expression=called["code"])
    return Coded(system, code, text_of(inputs, called["version"]))


def coded_by(coding: Json, name: str) -> Coded:
    """What a Coding names.

    Raises:
        InvalidInput: system or code is missing.
    """
    system, code, version = (coding.get(each) for each in ("system", "code", "version"))
    if not (isinstance(system, str) and isinstance(code, str) and isinstance(version, str | None)):
        raise InvalidInput(f"The Coding of '{name}' needs a system and a code.", expression=name)
    return Coded(system, code, version)


def require_same_system(a: Coded, b: Coded) -> None:
    """Let pass two codes of one version of a code system.

    Raises:
        InvalidInput: they are of two.
    """
    if a.system != b.system:
        raise InvalidInput("Both codes are of the same code system.")
    if a.version and b.version and a.version != b.version:
        raise InvalidInput("Both codes are of the same version of the code system.")
