"""The input of an operation: Parameters, or the parameters of a URL (FHIR R4 operations.html#request)."""

from collections.abc import Mapping, Sequence
from typing import Any

from fhir.exchange import FhirRequest
from fhir.model.json_codec import Json, decode_json
from fhir.model.validation.issue import IssueType
from fhir.model.validation.walker import require_valid
from fhir.negotiation import require_json_body
from fhir.outcome import FhirFault
from server.kernel.faults import FaultKind

PARAMETERS = "Parameters"

Inputs = Mapping[str, Sequence[Json]]  # by name: the values, or the resources, in order


class InvalidInput(FhirFault):
    """A parameter of an operation is missing or makes no sense; the message names it, never its value."""

    kind = FaultKind.INVALID
    issue_type = IssueType.INVALID


def read_inputs(request: FhirRequest) -> Inputs:
    """The input parameters of an invocation, those of the URL first; a part without value is left out.

    Raises:
        InvalidJson, InvalidResource, InvalidInput, UnsupportedMediaType: the body.
    """
    found: dict[str, list[Any]] = {}
    for name, value in request.pairs:
        found.setdefault(name, []).append(value)
    if request.method == "POST" and request.body:
        require_json_body(request.headers.get("content-type"))
        resource = decode_json(request.body)
        if resource.get("resourceType") != PARAMETERS:
            raise InvalidInput("The body of this operation is a Parameters resource.")
        require_valid(resource)
        for parameter in resource.get("parameter", ()):
            value = value_of(parameter)
            if value is not None:
                found.setdefault(parameter["name"], []).append(value)
    return found


def value_of(parameter: Json) -> Json:
    """The value or the resource of one parameter; None: it has parts only."""
    if "resource" in parameter:
        return parameter["resource"]
    return next((value for name, value in parameter.items() if name.startswith("value")), None)


def one_of(inputs: Inputs, name: str) -> Json | None:
    """The only value of a parameter; None: it is not there.

    Raises:
        InvalidInput: it is there more than once.
    """
    values = inputs.get(name, ())
    if len(values) > 1:
        raise InvalidInput(f"The parameter '{name}' may be there once.")
    return values[0] if values else None


def whole_number(name: str, value: Json) -> int:
    """The number above zero that a value states, however large.

    Raises:
        InvalidInput: it states none.
    """
    text = str(value)
    if not text.isascii() or not text.isdigit() or not (number := int(text[:10])):
        raise InvalidInput(f"'{name}' is a whole number above zero.")
    return number
