"""DiagnosticReport/{id}/$verify as an operation of the FHIR door; the roof hands it in.

What it does is imported by the first who asks for it: a server starts without it.
"""

from fhir.exchange import Answer, FhirRequest
from fhir.interactions.answers import answer_written
from fhir.interactions.door import Door
from fhir.interactions.etag import read_guard
from fhir.operations.operation import Level, Operation
from server.kernel.access import Permission

REPORT = "DiagnosticReport"
DEFINITION = "https://isthmus.health/fhir/OperationDefinition/DiagnosticReport-verify"


async def verify_report(door: Door, request: FhirRequest) -> Answer:
    """The report as it stands after a person's word."""
    from server.workflows.verify.act import Asked, verify
    from server.workflows.verify.request import read_verification

    assert request.resource_id is not None
    reach = request.access.reach(REPORT, Permission.UPDATE)
    word = read_verification(request)
    guard = read_guard(request.headers)
    asked = Asked(request.resource_id, request.access, reach, guard, word, door.surroundings())
    written = await verify(door.services, asked)
    return answer_written(door, request, written)


VERIFY_OPERATIONS = (
    Operation(
        name="verify",
        definition=DEFINITION,
        levels=frozenset({Level.INSTANCE}),
        types=frozenset({REPORT}),
        affects_state=True,
        perform=verify_report,
    ),
)
