"""What an invocation of a terminology operation brings: parameters, definitions (R4 operations.html#request).

Not read as other operations' input: Parameters are not held to R4 as a whole, since definitions of other
versions of FHIR come with them, and a definition of many concepts would be walked through twice.
"""

from collections.abc import Callable, Mapping
from typing import Any

from fhir.exchange import FhirRequest
from fhir.model.json_codec import Json, decode_json
from fhir.negotiation import require_json_body
from fhir.operations.parameters import PARAMETERS
from terminology.issues import InvalidInput, TooCostly
from terminology.structure import require_codeable_concept, require_coding, require_definition

TX_RESOURCE = "tx-resource"
VALIDATION = "validation"  # of `$batch-validate-code`: Parameters of its own
MAX_TX_RESOURCES = 500  # definitions that one request brings along
MAX_TX_PARAMETERS = 2_000

_DEFINITIONS = frozenset({TX_RESOURCE, "codeSystem", "valueSet", "conceptMap"})
_CODINGS = frozenset({"coding", "codingA", "codingB", "sourceCoding", "targetCoding"})
_CONCEPTS = frozenset({"codeableConcept", "sourceCodeableConcept", "targetCodeableConcept"})
_CHECKS: Mapping[str, Callable[[Any, str], None]] = {
    **dict.fromkeys(_DEFINITIONS, require_definition),
    **dict.fromkeys(_CODINGS, require_coding),
    **dict.fromkeys(_CONCEPTS, require_codeable_concept),
}


def read_given(request: FhirRequest) -> dict[str, list[Json]]:
    """The input parameters by name, those of the URL first; one that has parts is told with them.

    Raises:
        InvalidJson, UnsupportedMediaType: the body.
        InvalidInput: it is no Parameters resource, or a parameter has not the shape that its name asks for.
        TooCostly: more than is taken.
    """
    found: dict[str, list[Json]] = {}
    for name, value in request.pairs:
        found.setdefault(name, []).append(value)
    if request.method == "POST" and request.body:
        require_json_body(request.headers.get("content-type"))
        add_parameters(found, decode_json(request.body))
    if len(found.get(TX_RESOURCE, ())) > MAX_TX_RESOURCES:
        raise TooCostly(f"A request brings up to {MAX_TX_RESOURCES} definitions.")
    _require_shapes(found)
    for value in found.get(VALIDATION, ()):
        nested: dict[str, list[Json]] = {}
        add_parameters(nested, value)
        _require_shapes(nested)
    return found


def _require_shapes(found: Mapping[str, list[Json]]) -> None:
    for name in _CHECKS.keys() & found.keys():
        for value in found[name]:
            if name == TX_RESOURCE or not isinstance(value, str):  # text of a URL: the operation refuses it
                _CHECKS[name](value, name)


def add_parameters(found: dict[str, list[Json]], body: Json) -> None:
    """Add what a Parameters resource has, or a parameter with parts.

    Raises:
        InvalidInput: it is none.
        TooCostly: it has more than is taken.
    """
    is_one = isinstance(body, dict) and (body.get("resourceType") == PARAMETERS or "part" in body)
    parameters = body.get("part", body.get("parameter", [])) if is_one else None
    if not isinstance(parameters, list):
        raise InvalidInput("A Parameters resource is needed here.", expression=PARAMETERS)
    if len(parameters) > MAX_TX_PARAMETERS:
        raise TooCostly(f"A request has up to {MAX_TX_PARAMETERS} parameters.")
    for at, parameter in enumerate(parameters):
        name = parameter.get("name") if isinstance(parameter, dict) else None
        if not isinstance(name, str):
            raise InvalidInput("A parameter has a name.", expression=f"Parameters.parameter[{at}].name")
        value = _value_of(parameter)
        if value is not None:
            found.setdefault(name, []).append(value)


def _value_of(parameter: Json) -> Json:
    """The value or resource; the parameter itself where it has parts; None: it is empty."""
    if "resource" in parameter:
        return parameter["resource"]
    value = next((value for name, value in parameter.items() if name.startswith("value")), None)
    return parameter if value is None and "part" in parameter else value
