"""Data types as JSON: what has no value is left out, never written empty (FHIR R4 datatypes.html)."""

from collections.abc import Iterable
from decimal import Decimal
from html import escape
from typing import Any

from fhir.model import systems
from fhir.model.validation.primitives import FITS

Json = Any


def elements(**values: Json) -> dict[str, Json]:
    """The object of those elements that have a value; None, "" and empty arrays and objects are none."""
    return {name: value for name, value in values.items() if value is not None and value not in ("", [], {})}


def coding(system: str | None, code: str | None, display: str | None = None) -> dict[str, Json]:
    """A Coding; a code that FHIR cannot hold (blanks in a row) is left out, and its system with it."""
    if code is not None and not FITS["code"](code):
        system = code = None
    return elements(system=system, code=code, display=display)


def unsigned(number: int | None) -> int | None:
    """A number where FHIR wants an unsignedInt and DICOM does not; None: it is none."""
    return number if FITS["unsignedInt"](number) else None


def concept(*codings: dict[str, Json], text: str | None = None) -> dict[str, Json]:
    """A CodeableConcept."""
    return elements(coding=list(codings), text=text)


def identifier(system: str | None, value: str, type_: dict[str, Json] | None = None) -> dict[str, Json]:
    """An Identifier; a system that is no URI (blanks in it) is left out."""
    return elements(type=type_, system=system if FITS["uri"](system) else None, value=value)


def uid_identifier(uid: str) -> dict[str, Json]:
    """The Identifier that a DICOM UID is."""
    return identifier(systems.DICOM_UID, f"urn:oid:{uid}")


def accession_identifier(value: str, system: str | None) -> dict[str, Json]:
    """An accession number as its issuer's identifier; `system` None: the issuer is not known."""
    return identifier(system, value, concept(coding(systems.IDENTIFIER_TYPE, "ACSN", "Accession ID")))


def reference(
    type_: str, id_: str, *, target: dict[str, Json] | None = None, display: str | None = None
) -> dict[str, Json]:
    """A literal Reference; `target` is the identifier of what it refers to."""
    return elements(reference=f"{type_}/{id_}", identifier=target, display=display)


def instance_reference(sop_instance_uid: str, display: str) -> dict[str, Json]:
    """A logical Reference to a DICOM instance, which is no FHIR resource."""
    return {"identifier": uid_identifier(sop_instance_uid), "display": display}


def quantity(value: Decimal | int, unit: str | None, system: str | None, code: str | None) -> dict[str, Json]:
    """A Quantity; the digits of `value` are kept."""
    return {"value": value, **elements(unit=unit, system=system, code=code)}


def absent(reason: str) -> dict[str, Json]:
    """An element that has no value, and why (code of data-absent-reason)."""
    return {"extension": [{"url": systems.DATA_ABSENT_REASON_EXTENSION, "valueCode": reason}]}


def narrative(title: str, lines: Iterable[str]) -> dict[str, Json]:
    """A generated Narrative; the texts are escaped, so nothing of them becomes markup."""
    paragraphs = "".join(f"<p>{escape(_printable(line))}</p>" for line in lines)
    body = f"<p><b>{escape(_printable(title))}</b></p>{paragraphs}"
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{body}</div>'}


def _printable(text: str) -> str:
    """Without the control characters that XML 1.0 cannot contain."""
    return "".join(c for c in text if c >= " " or c in "\t\r\n")
