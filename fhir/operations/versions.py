"""$versions: which FHIR versions this server speaks (CapabilityStatement-operation-versions, of R5)."""

from collections.abc import Sequence

from fhir.exchange import Answer, FhirRequest
from fhir.interactions.door import Door
from fhir.model.json_codec import encode_json
from fhir.operations.operation import Level, Operation

SPOKEN = "4.0"  # major.minor of FHIR 4.0.1

_ANSWER = encode_json(
    {
        "resourceType": "Parameters",
        "parameter": [{"name": "version", "valueCode": SPOKEN}, {"name": "default", "valueCode": SPOKEN}],
    }
)


async def versions(_door: Door, _request: FhirRequest) -> Answer:
    """The versions, and the one that is spoken when nobody asks."""
    return Answer(text=_ANSWER)


VERSIONS_OPERATIONS: Sequence[Operation] = (
    Operation(
        "versions",
        "http://hl7.org/fhir/OperationDefinition/CapabilityStatement-versions",
        frozenset({Level.SYSTEM}),
        versions,
    ),
)
