"""What no route takes: 404 and 405 in the words of the door, and 400 for parameters that do not parse.

A framework's own answers would speak another format than the door, name only one route's methods, and repeat
what the client sent.
"""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from server.http.problem import Answer
from server.http.route_template import METHODS
from server.kernel.faults import Fault, FaultKind, NotFound


class MethodNotAllowed(Fault):
    """The resource is there, the method is none of it (RFC 9110 §15.5.6)."""

    kind = FaultKind.METHOD_NOT_ALLOWED


class InvalidParameter(Fault):
    """A parameter of the path or the query is not of its type."""


def answer_unrouted(app: FastAPI, answer: Answer) -> None:
    """Install the handlers of this file, and the one of faults that handlers raise."""

    @app.exception_handler(Fault)
    async def fault_becomes_answer(request: Request, fault: Fault) -> Response:
        return answer(request.scope, fault)

    @app.exception_handler(RequestValidationError)
    async def wrong_parameter(request: Request, error: RequestValidationError) -> Response:
        names = sorted({str(problem["loc"][-1]) for problem in error.errors()})
        return answer(request.scope, InvalidParameter(f"Not understood: {', '.join(names)}."))

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, _error: HTTPException) -> Response:
        allowed = allowed_methods(app, request)
        if not allowed:
            return answer(request.scope, NotFound("There is no such resource."))
        response = answer(request.scope, MethodNotAllowed("The resource does not know this method."))
        response.headers["Allow"] = ", ".join(sorted(allowed))
        return response


def allowed_methods(app: FastAPI, request: Request) -> set[str]:
    """Every method that some route takes at this path."""
    allowed = {method for method in METHODS - {"HEAD"} if _is_routed(app, request, method)}
    return allowed | {"HEAD"} if "GET" in allowed else allowed


def _is_routed(app: FastAPI, request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in app.router.routes)
