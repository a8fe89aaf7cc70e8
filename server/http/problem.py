"""Faults as RFC 9457 problem details, and the choice of the door's own format.

`Answer` is what middleware needs: it cannot know FHIR's OperationOutcome or DICOMweb's words, the roof does.
"""

from collections.abc import Callable, Mapping

from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from server.kernel.faults import Busy, Fault

Answer = Callable[[Scope, Fault], Response]  # the response of a fault
FaultResponse = Callable[[Fault], Response]  # the same, in one door's format

RETRY_AFTER_S = 5  # of a 503: about the time a locked database or a full journal takes


def problem_response(fault: Fault) -> Response:
    """A fault in RFC 9457's format."""
    body = {"title": fault.status.phrase, "status": int(fault.status), "detail": str(fault)}
    return JSONResponse(
        body, status_code=int(fault.status), media_type="application/problem+json", headers=retry_after(fault)
    )


def retry_after(fault: Fault) -> dict[str, str]:
    """The Retry-After header of a fault that passes by itself (RFC 9110 §10.2.3)."""
    return {"Retry-After": str(RETRY_AFTER_S)} if isinstance(fault, Busy) else {}


def answer_by_door(doors: Mapping[str, FaultResponse]) -> Answer:
    """An `Answer` that speaks as the door under whose prefix the path lies, elsewhere by RFC 9457."""

    def answer(scope: Scope, fault: Fault) -> Response:
        path = scope["path"]
        for prefix, respond in doors.items():
            if path == prefix or path.startswith(prefix + "/"):
                return respond(fault)
        return problem_response(fault)

    return answer
