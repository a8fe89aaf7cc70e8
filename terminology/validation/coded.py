"""What is to be validated: a code, a Coding or a CodeableConcept (FHIR R4 operation $validate-code)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from terminology.context import Inputs
from terminology.inputs import element_of, text_of
from terminology.issues import InvalidInput
from terminology.messages import NO_CODE_TO_VALIDATE

Json = Any

MAX_CODINGS = 100  # of one CodeableConcept


class Form(StrEnum):
    """In which form it came."""

    CODE = "code"
    CODING = "coding"
    CODEABLE_CONCEPT = "codeableConcept"


@dataclass(frozen=True, slots=True)
class Coding:
    """A code with what is said of it; `path` is its FHIRPath, empty for parameters of their own."""

    system: str | None
    code: str | None
    version: str | None = None
    display: str | None = None
    path: str = ""

    def at(self, element: str) -> str:
        """The path of one of its elements."""
        return f"{self.path}.{element}" if self.path else element

    def __str__(self) -> str:
        version = f"|{self.version}" if self.version else ""
        display = f" ('{self.display}')" if self.display else ""
        return f"{self.system or ''}{version}#{self.code}{display}"


@dataclass(frozen=True, slots=True)
class Coded:
    """What is to be validated: one coding, or those of a CodeableConcept, of which one must be right."""

    form: Form
    codings: Sequence[Coding]
    concept: Json = None  # the CodeableConcept as it came


def read_coded(inputs: Inputs, *, of_code_system: bool = False, infer: bool = False) -> Coded:
    """What the parameters give: codeableConcept, coding, or code with system (or `url`, of a CodeSystem).

    Raises:
        InvalidInput: they give nothing, or it is malformed.
    """
    if (concept := element_of(inputs, "codeableConcept")) is not None:
        codings = concept.get("coding", ())
        if not isinstance(codings, list | tuple) or len(codings) > MAX_CODINGS:
            raise InvalidInput(f"A CodeableConcept has at most {MAX_CODINGS} codings here.")
        read = [_read_coding(each, f"CodeableConcept.coding[{at}]") for at, each in enumerate(codings)]
        return Coded(Form.CODEABLE_CONCEPT, read, concept)
    if (coding := element_of(inputs, "coding")) is not None:
        return Coded(Form.CODING, (_read_coding(coding, "Coding"),))
    return Coded(Form.CODE, (_read_code(inputs, of_code_system=of_code_system, infer=infer),))


def _read_code(inputs: Inputs, *, of_code_system: bool, infer: bool) -> Coding:
    code, display = text_of(inputs, "code"), text_of(inputs, "display")
    if of_code_system:
        system = text_of(inputs, "url") or text_of(inputs, "system")
        version = text_of(inputs, "version")
    else:
        system = text_of(inputs, "system")
        version = text_of(inputs, "systemVersion", "version")
    if code is None or (system is None and not infer):
        raise InvalidInput(NO_CODE_TO_VALIDATE)
    return Coding(system, code, version, display)


def _read_coding(entry: Json, path: str) -> Coding:
    if not isinstance(entry, dict):
        raise InvalidInput("A coding is a Coding.", expression=path)
    names = ("system", "code", "version", "display")
    found = {name: entry.get(name) or None for name in names}
    if not all(value is None or isinstance(value, str) for value in found.values()):
        raise InvalidInput("The elements of a Coding are text.", expression=path)
    return Coding(path=path, **found)
